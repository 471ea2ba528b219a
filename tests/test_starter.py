"""The command that provides a model where there is none: idempotent, and it resumes where it was interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from nmt import export, starter, train
from nmt.errors import ConfigError, NMTError


class Commands:
    """Stands in for nmt.train and nmt.export."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[list[str]] = []
        self.interrupt = False
        monkeypatch.setattr(train, "main", self.train)
        monkeypatch.setattr(export, "main", self.export)

    def train(self, argv: Sequence[str]) -> int:
        self.calls.append(["train", *argv])
        run = Path(argv[1])
        (run / "best.pt").touch()
        (run / "last.pt").touch()
        if self.interrupt:
            raise SystemExit(143)  # what nmt.train does at SIGTERM, after it has saved
        return 0

    def export(self, argv: Sequence[str]) -> int:
        self.calls.append(["export", *argv])
        Path(argv[2]).touch()
        return 0


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Commands that take no time."""
    return Commands(monkeypatch)


def test_trains_and_exports_once(tmp_path: Path, commands: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    assert starter.main([str(tmp_path), "--training.max_steps", "5"]) == 0
    run = tmp_path / ".starter"
    assert commands.calls == [
        ["train", "--run", str(run), "--data.cache", str(run / "cache"), "--training.max_steps", "5"],
        ["export", str(run), "-o", str(tmp_path / "starter.pt")],
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["starter.pt"]  # the run is not kept
    assert starter.main([str(tmp_path)]) == 0
    assert len(commands.calls) == 2
    assert "nothing to do" in capsys.readouterr().out


def test_a_model_of_the_users_own_is_left_alone(tmp_path: Path, commands: Commands) -> None:
    (tmp_path / "mine.pt").touch()
    assert starter.provide(tmp_path) == tmp_path / "mine.pt"
    assert not commands.calls


def test_an_interrupted_training_goes_on(tmp_path: Path, commands: Commands) -> None:
    commands.interrupt = True
    with pytest.raises(SystemExit):
        starter.provide(tmp_path)
    assert not list(tmp_path.glob("*.pt"))  # nothing that the service could take for a model
    commands.interrupt = False
    starter.provide(tmp_path)
    assert commands.calls[1] == ["train", "--run", str(tmp_path / ".starter"), "--resume"]


def test_a_run_without_a_checkpoint_begins_anew(tmp_path: Path, commands: Commands) -> None:
    (tmp_path / ".starter").mkdir()
    (tmp_path / ".starter/best.pt").touch()
    starter.provide(tmp_path)
    assert "--resume" not in commands.calls[0]


def test_options_of_the_training_come_in_any_order(tmp_path: Path, commands: Commands) -> None:
    assert starter.main(["--training.max_steps=5", "--training.seed", "2", str(tmp_path)]) == 0
    assert commands.calls[0][-4:] == ["--training.max_steps", "5", "--training.seed", "2"]


def test_mistakes_are_refused_before_anything_is_done(
    tmp_path: Path, commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=r"did you mean --training\.max_steps\?"):
        starter.main([str(tmp_path), "--training.max_step", "5"])
    with pytest.raises(SystemExit):
        starter.main([str(tmp_path), "--resume"])
    assert capsys.readouterr().err.startswith("error: unknown argument --resume")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NMTError, match="file/models: cannot be written"):
        starter.provide(tmp_path / "file/models")
