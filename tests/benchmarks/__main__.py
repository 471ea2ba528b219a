"""Run benchmarks: `python -m tests.benchmarks [CASE...] [options]`, one JSON line a case. See README.md.

Each case runs in a process of its own. With `--turns` and `--against`, several variants (another checkout, another
environment, other options) take turns, so that a slow minute of the machine affects all of them alike:

    python -m tests.benchmarks decode --turns 5 --against "--tree ../before" --against NMT_KERNELS=off
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).parent
CASES = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
NOT_BY_DEFAULT = ("peers", "service")
"""cases that are run only by name, because they need arguments"""


def run_here(case: str, argv: Sequence[str], tree: Path | None) -> None:
    """Run a case in this process, with the `nmt` and `service` of the checkout `tree`."""
    sys.path.insert(0, str(tree or FOLDER.parents[1]))
    from nmt.openmp import choose_waiting  # before torch is loaded, as nmt.cli.launch does it

    choose_waiting(spin=case == "train")
    import_module(f"tests.benchmarks.bench_{case}").main(list(argv))


def run_there(case: str, argv: Sequence[str], variant: str = "") -> Iterator[dict[str, object]]:
    """Run a case in a process of its own and yield its lines; `variant` is NAME=VALUE settings, then options."""
    words = shlex.split(variant)
    count = next((n for n, word in enumerate(words) if word.startswith("-")), len(words))
    environment = os.environ | dict(word.split("=", 1) for word in words[:count])
    command = [sys.executable, "-m", "tests.benchmarks", case, *argv, *words[count:]]
    with subprocess.Popen(command, env=environment, cwd=FOLDER.parents[1], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        yield from map(json.loads, child.stdout)
    if child.returncode:
        raise SystemExit(f"{shlex.join(command)}: exit code {child.returncode}")


def main() -> None:
    """Parse the command line and run the cases."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="All other options go to the cases; see python -m tests.benchmarks CASE --help.",
        add_help=False,
    )
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--turns", type=int, help="how often the variants take turns")
    parser.add_argument("--against", action="append", default=[], metavar="VARIANT", help="NAME=VALUE..., options...")
    parser.add_argument("--tree", type=Path, metavar="DIR", help="measure the nmt and service of another checkout")
    options, rest = parser.parse_known_args()
    if not options.cases and {"-h", "--help"} & set(rest):
        parser.print_help()
    elif len(options.cases) == 1 and not options.turns and not options.against:
        run_here(options.cases[0], rest, options.tree)
    else:
        tree = ["--tree", str(options.tree)] * bool(options.tree)
        for case in options.cases or [case for case in CASES if case not in NOT_BY_DEFAULT]:
            for turn in range(options.turns or 1):
                variants = ["", *options.against]
                for variant in variants[:: -1 if turn % 2 else 1]:
                    for line in run_there(case, [*tree, *rest], variant):
                        print(json.dumps(line | {"variant": variant, "turn": turn}), flush=True)


if __name__ == "__main__":
    main()
