"""Run an experiment: `python -m nmt.experiments NAME [options]`; for its options: `... NAME --help`."""

from __future__ import annotations

from nmt.cli.launch import launch

if __name__ == "__main__":  # above the imports that may fail, see nmt/cli/launch.py
    raise SystemExit(launch("nmt.experiments.__main__"))

import sys
from collections.abc import Sequence

from nmt.cli.parser import Parser
from nmt.cli.train_options import separate
from nmt.experiments import attention
from nmt.experiments.plan import ATTENTION, FAMILY

EXPERIMENTS = {
    ATTENTION: "models with a fixed context and models with attention, by source length",
    FAMILY: "every option of the model family by itself",
}


def build_parser() -> Parser:
    """Define the command line."""
    parser = Parser("python -m nmt.experiments", __doc__ or "")
    names = parser.add_subparsers(dest="experiment", required=True, metavar="NAME")
    for plan, about in EXPERIMENTS.items():
        details = f"As `{ATTENTION.stem}`, with the members of {plan.name}."
        description = (attention.__doc__ or "") if plan == ATTENTION else details
        attention.add_arguments(names.add_parser(plan.stem, help=about, description=description), plan)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    overrides, left = separate(arguments)
    attention.main(build_parser().parse_args(left), overrides, arguments)
    return 0
