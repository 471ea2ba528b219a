"""Build the C++ kernels: `python -m nmt.kernels`. Without a compiler it says so and ends well: they are optional."""

from __future__ import annotations

import time

from nmt.kernels.build import CannotBuild, build


def main() -> None:
    """Build them, and print one line."""
    began = time.monotonic()
    try:
        names = [path.name for path in build()]
    except CannotBuild as error:
        print(f"kernels: not built, all works without them at less speed: {error}")
        return
    print(f"kernels: {', '.join(names)}, in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
