"""Starting a command: `python -m nmt.NAME`, or its console script `nmt-NAME` (see nmt/cli/entry.py).

A command's module begins with

    if __name__ == "__main__":
        raise SystemExit(launch("nmt.NAME"))

above its other imports, and is then imported here under its own name. So a package that is not installed is reported
in one line, and what must be set before torch is loaded is set in one place.
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from importlib import import_module
from pathlib import Path

from nmt.cli.parser import main_guard
from nmt.errors import EXTRA_OF, MissingPackageError
from nmt.openmp import choose_waiting

TRAINING = ("nmt.train", "nmt.starter", "nmt.experiments.__main__")
TRANSLATION = ("nmt.translate", "nmt.evaluate", "nmt.perturb", "nmt.score", "nmt.export")


def launch(command: str) -> int:
    """Import the module `command`, run its ``main`` and return the exit code."""
    # Not for nmt.demo: the commands that it starts would take the choice for the user's.
    if command in TRAINING + TRANSLATION:
        choose_waiting(spin=command in TRAINING)
    # torch warns on import where NumPy is missing; nothing that runs without the extras needs it.
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy", category=UserWarning)

    def run() -> int | None:
        try:
            result: int | None = import_module(command).main()
        except ModuleNotFoundError as error:
            module = (error.name or "").partition(".")[0]
            if module not in EXTRA_OF:  # one of our own modules: a defect, which deserves its traceback
                raise
            raise MissingPackageError(command.removesuffix(".__main__"), module) from None
        return result

    return main_guard(run)


def interpreter() -> str:
    """This Python as the user can type it.

    Its name where the shell finds it by that (an active virtual environment), else its path, relative to the current
    folder if it lies below.
    """
    path = Path(sys.executable)  # not resolved: in a virtual environment it links to the Python outside
    if (found := shutil.which(path.name)) and os.path.abspath(found) == str(path):
        return path.name
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
