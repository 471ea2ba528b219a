"""Console scripts: `nmt-train` runs exactly what `python -m nmt.train` runs, and so on for every command.

Importing this module loads nothing but the standard library.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path


def module(name: str) -> Callable[[], None]:
    """Return an entry point that runs module `name` as a program, as `python -m` does."""

    def command() -> None:
        runpy.run_module(name, run_name="__main__", alter_sys=True)

    return command


train = module("nmt.train")
export = module("nmt.export")
translate = module("nmt.translate")
evaluate = module("nmt.evaluate")
perturb = module("nmt.perturb")
score = module("nmt.score")
data = module("nmt.data")
experiments = module("nmt.experiments")


def of_service(name: str) -> Callable[[], None]:
    """Return an entry point for a module of the service: of the copy in the wheel, else of the project's folder.

    A package named `service` at the top level of site-packages could overwrite, or be overwritten by, somebody else's.
    So the wheel keeps it in nmt/applications, which is on the path of this process only.
    """

    def command() -> None:
        package = Path(__file__).resolve().parents[1]
        bundled = package / "applications"
        sys.path.insert(0, str(bundled if bundled.is_dir() else package.parent))
        module(name)()

    return command


serve = of_service("service")
keys = of_service("service.keys")
