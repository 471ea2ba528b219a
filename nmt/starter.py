"""Provide a model where there is none: train on the starter corpus, once, into a folder of models.

    python -m nmt.starter MODELS [--section.key value ...]

Does nothing if the folder has a model already, and resumes a run that was interrupted. The exported file appears in the
folder whole or not at all. `docker compose up` runs this command before the service. Options such as
--training.max_steps are those of python -m nmt.train.
"""

from __future__ import annotations

from nmt.cli.launch import launch

if __name__ == "__main__":  # above the imports that may fail, see nmt/cli/launch.py
    raise SystemExit(launch("nmt.starter"))

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from nmt.cli.parser import Parser
from nmt.cli.train_options import separate
from nmt.errors import NMTError

FILE = "starter.pt"


def train_and_export(run: Path, model: Path, call: Callable[..., None], options: Sequence[str] = ()) -> None:
    """Train the starter model in the folder `run`, or resume it there, and export it to the file `model`.

    `call(command, *arguments)` runs a command such as "nmt.train"; `options` are further arguments of a new training.
    """
    if (run / "last.pt").exists():
        call("nmt.train", "--run", str(run), "--resume")
    else:
        (run / "best.pt").unlink(missing_ok=True)  # killed between its first validation and its first checkpoint
        call("nmt.train", "--run", str(run), *options)
    model.parent.mkdir(parents=True, exist_ok=True)
    call("nmt.export", str(run), "-o", str(model))


def provide(models: Path, options: Sequence[str] = ()) -> Path:
    """Return the first model in the folder `models`, or else train the starter model with these options of nmt.train.

    Raises `NMTError` if the folder cannot be written.
    """
    present = sorted(models.glob("*.pt"))
    if present:
        print(f"{present[0]}: there is a model already, nothing to do")
        return present[0]
    run = models / ".starter"
    try:
        (run / "cache").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NMTError(
            f"{models}: cannot be written ({error.strerror}); make it writable for this user, or put a model there"
        ) from None
    train_and_export(run, models / FILE, _call, ["--data.cache", str(run / "cache"), *options])
    shutil.rmtree(run)
    return models / FILE


def _call(command: str, *arguments: str) -> None:
    """Run a command in this process, so that it receives the signals sent to this one."""
    from nmt import export, train  # here, so that the check for a present model does not load torch

    {"nmt.train": train, "nmt.export": export}[command].main(arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = Parser("python -m nmt.starter", __doc__ or "")
    parser.add_argument("models", type=Path, metavar="MODELS", help="folder of exported models (*.pt)")
    overrides, left = separate(sys.argv[1:] if argv is None else argv)
    folder = parser.parse_args(left).models
    provide(folder, [part for key, value in overrides for part in (f"--{key}", value)])
    return 0
