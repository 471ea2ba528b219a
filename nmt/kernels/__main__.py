"""Build the C++ kernels: `python -m nmt.kernels`. Without a compiler it says so and ends well: they are optional."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch

from nmt.kernels import CAPABILITIES
from nmt.kernels.build import CannotBuild, build


def main(argv: Sequence[str] | None = None) -> None:
    """Build them, and print one line."""
    parser = argparse.ArgumentParser(
        "python -m nmt.kernels", description="Build the optional C++ kernels, with $CXX, c++, g++ or clang++."
    )
    parser.add_argument(
        "--all", action="store_true", help="for all instruction sets of the architecture, not this machine's alone"
    )
    options = parser.parse_args(argv)
    own = torch.backends.cpu.get_cpu_capability()
    began = time.monotonic()
    try:
        names = [path.name for path in build([own] if own in CAPABILITIES and not options.all else CAPABILITIES)]
    except CannotBuild as error:
        print(f"kernels: not built, all works without them at less speed: {error}")
        return
    print(f"kernels: {', '.join(names)}, in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
