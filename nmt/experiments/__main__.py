"""Run an experiment: `python -m nmt.experiments NAME [options]`; its options: `... NAME --help`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

from nmt.cli.parser import main_guard
from nmt.errors import ConfigError
from nmt.experiments import attention
from nmt.experiments.plan import FAMILY

EXPERIMENTS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "attention": (attention.main, "models with a fixed context and models with attention, by source length"),
    "family": (partial(attention.main, plan=FAMILY), "every option of the model family by itself"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    name, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print(__doc__)
        print("experiments:")
        for known, (_, about) in EXPERIMENTS.items():
            print(f"  {known}: {about}")
        return 0
    if name not in EXPERIMENTS:
        raise ConfigError(f"{name}: unknown experiment; choose {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name][0](rest)


if __name__ == "__main__":
    sys.exit(main_guard(main))
