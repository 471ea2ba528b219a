"""Checkpoints written in the background: a snapshot, in order, whole or not at all; errors and kills."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt.errors import CheckpointError
from nmt.train import train
from nmt.training import saving
from nmt.training.checkpoint import load_checkpoint
from nmt.training.checkpoint import write_checkpoint as write
from nmt.training.saving import BackgroundWriter
from nmt.training.state import Progress
from tests.test_train import corpus, options, same, small

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_is_saved_is_what_it_was_when_save_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, written = threading.Event(), []

    def slow(path: Path, data: bytes) -> None:
        assert go_on.wait(60)
        write(path, data)
        written.append(path.name)

    monkeypatch.setattr(saving, "write_checkpoint", slow)
    weight = torch.zeros(3)
    with BackgroundWriter() as writer:
        for name in ("best.pt", "last.pt"):
            writer.save(tmp_path / name, {"weight": weight})
            weight += 1
        writer.check()
        assert not written
        go_on.set()
        writer.save(tmp_path / "third.pt", {"weight": weight})  # waits until only one of the first two is left
        assert "best.pt" in written
        weight += 1
    assert written == ["best.pt", "last.pt", "third.pt"]
    assert [load_checkpoint(tmp_path / name)["weight"].tolist()[0] for name in written] == [0, 1, 2]


@pytest.mark.parametrize("fails", ["best.pt", "last.pt"])
@pytest.mark.parametrize("at", [6, 12], ids=["within the run", "at its end"])
def test_a_full_disk_ends_the_run_and_leaves_the_files_of_the_save_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, at: int
) -> None:
    corpus(tmp_path)
    config = small(tmp_path, max_steps=12, validate_every=3, learning_rate=1e-9)
    train(small(tmp_path, max_steps=at - 3, validate_every=3, learning_rate=1e-9), tmp_path / "run")
    before = (tmp_path / "run" / "last.pt").read_bytes()

    def full(path: Path, data: bytes) -> None:
        if path.name == fails:
            monkeypatch.setattr(os, "fsync", fail)
        write(path, data)

    def fail(_: int) -> None:
        raise FULL

    monkeypatch.setattr(saving, "write_checkpoint", full)
    monkeypatch.setattr(Progress, "count_validation", lambda *_: True)  # each saves best.pt too
    with pytest.raises(CheckpointError, match=rf"{fails}: cannot be written: No space left"):
        train(config, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "last.pt").read_bytes() == before
    assert not list((tmp_path / "run").glob(".*.tmp"))


def test_another_error_of_the_run_waits_for_the_save_and_stays_the_error(tmp_path: Path) -> None:
    def run() -> None:
        with BackgroundWriter() as writer:
            writer.save(tmp_path / "last.pt", {"weight": torch.ones(1)})
            raise ValueError("of the step")

    with pytest.raises(ValueError, match="of the step"):
        run()
    assert load_checkpoint(tmp_path / "last.pt")["weight"].item() == 1


KILL = """
import os, signal, sys
import nmt.files
from nmt.train import main
replace, left = os.replace, int(sys.argv.pop(1))
def kill(source, target):
    global left
    left -= str(target).endswith(".pt")
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
nmt.files.os.replace = kill
main(sys.argv[1:])
"""


@pytest.mark.parametrize("rename", [3, 4], ids=["best.pt", "last.pt"])
def test_a_run_killed_before_the_rename_goes_on_from_the_save_before(tmp_path: Path, rename: int) -> None:
    corpus(tmp_path)
    values: dict[str, Any] = options(tmp_path, max_steps=18, average_decay=0.5, learning_rate=1e-2)
    (tmp_path / "config.yaml").write_text(json.dumps(values), "utf-8")
    train(small(tmp_path, max_steps=18, average_decay=0.5, learning_rate=1e-2), tmp_path / "whole")
    run = tmp_path / "killed"
    command = [sys.executable, "-c", KILL, str(rename), str(tmp_path / "config.yaml"), "--run", str(run)]
    assert subprocess.run(command, capture_output=True).returncode == -9
    assert load_checkpoint(run / "last.pt")["progress"]["step"] == 6
    train(small(tmp_path, max_steps=18, average_decay=0.5, learning_rate=1e-2), run, resume=True)
    assert same(tmp_path / "whole", run)
