"""A model for those who have none: train on the starter corpus, once, into a folder of models.

    python -m nmt.starter MODELS [--training.max_minutes N ...]

Does nothing where the folder has a model already, goes on where it was interrupted, and puts the exported file there
whole or not at all. `docker compose up` runs it before the service.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from nmt.cli.parser import HelpFormatter, main_guard
from nmt.errors import NMTError


def provide(models: Path, options: Sequence[str] = ()) -> Path:
    """A model in the folder: the first one there, else the starter model, trained now with these options of nmt.train.

    Raises `NMTError` when the folder cannot be written.
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
            f"{models}: cannot be written ({error.strerror}); give it to this user, or put a model there"
        ) from None

    # Here, not above: where a model is there already the answer should come at once.
    from nmt import export, train

    if (run / "last.pt").exists():
        train.main(["--run", str(run), "--resume"])
    else:
        (run / "best.pt").unlink(missing_ok=True)  # killed between its first validation and its first checkpoint
        train.main(["--run", str(run), "--data.cache", str(run / "cache"), *options])
    model = models / "starter.pt"
    export.main([str(run), "-o", str(model)])
    shutil.rmtree(run)
    return model


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m nmt.starter",
        description=__doc__,
        epilog="all other options go to python -m nmt.train",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("models", type=Path, help="folder of exported models (*.pt)")
    known, options = parser.parse_known_args(argv)
    provide(known.models, options)
    return 0


if __name__ == "__main__":
    sys.exit(main_guard(main))
