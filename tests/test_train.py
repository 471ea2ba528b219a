"""Training as a user runs it: learns, resumes exactly, stops on request, refuses bad input in one line."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt.cli.train_options import parse
from nmt.config import Config, make_config
from nmt.errors import CheckpointError, CorpusError
from nmt.train import Stop, main, train
from nmt.training.checkpoint import load_checkpoint, save_checkpoint
from nmt.training.loss import batch_loss
from nmt.training.run_folder import load_run

WORDS = list("abcdefghijklmnop")


def corpus(folder: Path, pairs: int = 200) -> None:
    """Copying with other names: word w of the source is W in the target."""
    rng = random.Random(1)
    for split, size in (("train", pairs), ("valid", 20)):
        lines = [" ".join(rng.choices(WORDS, k=rng.randint(2, 6))) for _ in range(size)]
        (folder / f"{split}.src").write_text("".join(f"{line}\n" for line in lines), "utf-8")
        (folder / f"{split}.tgt").write_text("".join(f"{line.upper()}\n" for line in lines), "utf-8")


def options(folder: Path, **training: object) -> dict[str, object]:
    return {
        "data": {
            "root": str(folder),
            "cache": str(folder / "cache"),
            "train_src": ["train.src"],
            "train_tgt": ["train.tgt"],
            "valid_src": "valid.src",
            "valid_tgt": "valid.tgt",
            "vocabulary": 36,
            "units": "word",
            "sampling": 0.0,
        },
        "model": {
            "embedding": 16,
            "encoder": {"hidden": 16},
            "decoder": {"hidden": 32, "attention_size": 16},
            "dropout": 0.1,
            "dropout_embedding": 0.0,
            "dropout_word": 0.0,
        },
        "training": {
            "batch_tokens": 120,
            "validate_every": 6,
            "threads": 1,
            "max_steps": 12,
            "warmup_steps": 4,
            **training,
        },
    }


def small(folder: Path, **training: object) -> Config:
    return make_config(options(folder, **training))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    corpus(tmp_path)
    return tmp_path


def same(a: Path, b: Path) -> bool:
    """Whether two runs ended alike to the last bit: weights, optimiser, average, batch order, random numbers."""
    first, second = (load_checkpoint(run / "last.pt") for run in (a, b))
    flat = [torch.utils._pytree.tree_flatten({k: c[k] for k in c if k != "progress"}) for c in (first, second)]
    assert flat[0][1] == flat[1][1]
    progress = [{k: v for k, v in c["progress"].items() if k != "seconds"} for c in (first, second)]
    return progress[0] == progress[1] and all(
        x.equal(y) if isinstance(x, torch.Tensor) else x == y for x, y in zip(flat[0][0], flat[1][0], strict=True)
    )


def test_learns_to_copy(folder: Path) -> None:
    corpus(folder, pairs=2000)
    config = small(
        folder,
        max_steps=500,
        batch_tokens=400,
        validate_every=125,
        learning_rate=5e-3,
        average_decay=0.9,
        schedule="linear",
        patience=5,
    )
    progress = train(config, folder / "run")
    assert progress.best_bleu > 90
    run = load_run(folder / "run")
    assert run.info["valid_bleu"] == round(progress.best_bleu, 2)
    assert "nrefs:1|case:mixed" in run.info["valid_signature"]
    lines = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"train", "valid"}
    losses = [line["loss"] for line in lines if line["kind"] == "valid"]
    assert losses[-1] < 0.2 < losses[0]
    assert list((folder / "run" / "tensorboard").iterdir())


@pytest.mark.parametrize(("units", "sampling"), [("word", 0.0), ("bpe", 0.3)])
def test_a_resumed_run_ends_bit_for_bit_like_an_uninterrupted_one(folder: Path, units: str, sampling: float) -> None:
    def config(max_epochs: int | None = None) -> Config:
        values = options(folder, max_steps=None, max_epochs=2, validate_every=5)
        data = values["data"]
        assert isinstance(data, dict)
        data.update(units=units, sampling=sampling, vocabulary=36 if units == "word" else 60)
        return make_config(values)

    train(config(), folder / "whole")
    # The same run, stopped between steps at several places, two of them not at a validation.
    run = folder / "parts"
    steps = load_checkpoint(folder / "whole" / "last.pt")["progress"]["step"]
    for at in (3, 5, 11, steps - 1):
        with pytest.raises(SystemExit) as stop:
            interrupt_at(at, config(), run, resume=at > 3)
        assert stop.value.code == 128 + signal.SIGTERM
    train(config(), run, resume=True)
    assert same(folder / "whole", run)
    assert (
        load_checkpoint(folder / "whole" / "best.pt")["model"].keys()
        == load_checkpoint(run / "best.pt")["model"].keys()
    )
    logs = [
        [json.loads(x)["step"] for x in (r / "log.jsonl").read_text().splitlines()] for r in (folder / "whole", run)
    ]
    assert logs[0] == logs[1]


def interrupt_at(step: int, config: Config, run: Path, resume: bool) -> None:
    """Train, with a SIGTERM to this process when the loop computes the loss of update `step`."""
    original = batch_loss
    count = load_checkpoint(run / "last.pt")["progress"]["step"] if resume else 0

    def counting(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nmt.train.batch_loss", counting)
        train(config, run, resume)


def test_killed_at_any_moment_it_goes_on_from_the_last_checkpoint(folder: Path) -> None:
    """SIGKILL cannot be caught: the run goes on from the last validation and still ends like the uninterrupted one."""
    arguments = ["--training.max_steps", "60", "--training.validate_every", "10"]
    config_file = folder / "config.yaml"
    config_file.write_text(json.dumps(options(folder)), "utf-8")
    command = [sys.executable, "-m", "nmt.train", str(config_file), *arguments]
    subprocess.run([*command, "--run", str(folder / "whole")], check=True, capture_output=True)
    process = subprocess.Popen([*command, "--run", str(folder / "killed")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (folder / "killed" / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    resume = [sys.executable, "-m", "nmt.train", "--run", str(folder / "killed"), "--resume"]
    subprocess.run(resume, check=True, capture_output=True)
    assert same(folder / "whole", folder / "killed")


def test_ctrl_c_saves_and_says_how_to_go_on(folder: Path) -> None:
    config_file = folder / "config.yaml"
    config_file.write_text(json.dumps(options(folder, max_steps=100000, patience=100000)), "utf-8")
    command = [sys.executable, "-m", "nmt.train", str(config_file), "--run", str(folder / "run")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (folder / "run" / "last.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"--run {folder / 'run'} --resume" in errors and "Traceback" not in errors


def test_a_finished_run_can_be_extended(folder: Path) -> None:
    train(small(folder, max_steps=6, schedule="constant"), folder / "run")
    again = train(small(folder, max_steps=6, schedule="constant"), folder / "run", resume=True)
    assert again.step == 6 and again.finished
    assert train(small(folder, max_steps=9, schedule="constant"), folder / "run", resume=True).step == 9


def test_early_stopping_counts_validations(folder: Path) -> None:
    progress = train(small(folder, max_steps=500, validate_every=2, patience=3, learning_rate=1e-9), folder / "run")
    assert progress.step < 500 and "no better BLEU in 3" in progress.finished


def test_a_time_bound_ends_with_a_validated_model(folder: Path) -> None:
    progress = train(small(folder, max_steps=None, max_minutes=0.02, validate_every=10**6), folder / "run")
    assert "max_minutes" in progress.finished
    assert load_run(folder / "run").info["steps"] == progress.step


@pytest.mark.parametrize("damage", ["half", "flip"])
def test_a_damaged_checkpoint_is_refused_by_name(folder: Path, damage: str) -> None:
    path = folder / "some.pt"
    save_checkpoint(path, {"model": {"w": torch.arange(1000.0)}})
    content = bytearray(path.read_bytes())
    if damage == "half":
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match=r"some\.pt.*damaged"):
            load_checkpoint(path)
        return
    for position in range(0, len(content), 97):
        flipped = bytearray(content)
        flipped[position] ^= 4
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError, match=r"some\.pt"):
            load_checkpoint(path)


def test_a_newer_checkpoint_is_refused(folder: Path) -> None:
    save_checkpoint(folder / "new.pt", {"format_version": 99})
    with pytest.raises(CheckpointError, match="newer version"):
        load_checkpoint(folder / "new.pt")


def test_resuming_with_another_text_is_refused(folder: Path) -> None:
    train(small(folder), folder / "run")
    corpus(folder, pairs=150)
    (folder / "train.src").write_text((folder / "train.src").read_text().replace("a", "q"), "utf-8")
    with pytest.raises(CheckpointError, match="training text has changed"):
        train(small(folder), folder / "run", resume=True)


def run_cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    from nmt.cli.parser import main_guard

    try:
        code = main_guard(lambda: main(arguments))
    except SystemExit as exit_:
        code = int(str(exit_.code or 0))
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--training.max_step", "3"], "did you mean --training.max_steps"),
        (["--modle.dropout", "3"], "unknown option"),
        (["--resum"], "did you mean --resume"),
        (["no-such-config"], "no such config"),
        (["--run", "{folder}/nothing", "--resume"], "nothing to resume"),
        (["--training.max_steps"], "a value is missing"),
    ],
)
def test_bad_command_lines_are_one_line_errors(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code, errors = run_cli(capsys, *(a.format(folder=folder) for a in arguments))
    assert code == 2 and message in errors and errors.count("\n") == 1


def test_an_override_without_a_config_is_not_taken_for_one(folder: Path) -> None:
    config, run, resume = parse(["--training.max_steps", "3", "--run", str(folder / "run"), "--search.beam=2"])
    assert (config.training.max_steps, config.search.beam, run, resume) == (3, 2, folder / "run", False)
    assert config.data.root.name == "starter"


def test_a_run_folder_is_never_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(small(folder), folder / "run")
    code, errors = run_cli(capsys, "--run", str(folder / "run"))
    assert code == 2 and "--resume" in errors


def test_unequal_files_are_refused_before_anything_is_written(folder: Path) -> None:
    (folder / "train.tgt").write_text("one line\n", "utf-8")
    with pytest.raises(CorpusError, match=r"train\.src.*200.*train\.tgt.*1"):
        train(small(folder), folder / "run")
    assert not (folder / "run").exists()


def test_an_unwritable_run_folder_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "file").write_text("in the way", "utf-8")
    (folder / "config.yaml").write_text(json.dumps(options(folder)), "utf-8")
    code, errors = run_cli(capsys, str(folder / "config.yaml"), "--run", str(folder / "file" / "run"))
    assert code == 2 and str(folder / "file") in errors


def test_the_stop_flag_restores_the_handlers() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_two_processes_train_one_model(folder: Path) -> None:
    """torchrun: each process has its share of the batches, both make the same updates, one of them saves."""
    (folder / "config.yaml").write_text(json.dumps(options(folder, max_steps=6, validate_every=3)), "utf-8")
    run = [str(folder / "config.yaml"), "--run", str(folder / "run")]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
    done = subprocess.run([*command, "nmt.train", *run], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert load_run(folder / "run").info["steps"] in (3, 6)
    assert load_checkpoint(folder / "run" / "last.pt")["sampler"]["processes"] == 2
    steps = [json.loads(line)["step"] for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    assert len([s for s in steps if s == 6]) == 1
