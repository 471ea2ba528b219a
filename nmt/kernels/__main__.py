"""Build the C++ kernels: `python -m nmt.kernels`. Without a compiler it says so and ends well: they are optional."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from nmt.kernels.build import CannotBuild, build


def main(argv: Sequence[str] | None = None) -> None:
    """Build them, and print one line."""
    argparse.ArgumentParser(
        "python -m nmt.kernels", description="Build the optional C++ kernels, with $CXX, c++, g++ or clang++."
    ).parse_args(argv)
    began = time.monotonic()
    try:
        names = [path.name for path in build()]
    except CannotBuild as error:
        print(f"kernels: not built, all works without them at less speed: {error}")
        return
    print(f"kernels: {', '.join(names)}, in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
