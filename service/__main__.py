"""``python -m service``: serve exported models over HTTP until told to stop.

Exit codes: 0 after SIGTERM, when all accepted requests were answered; 2 for an error that the user can fix, after one
line that names it; 130 after Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service with these command-line arguments; return the exit code."""
    try:
        from service import server
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "nmt", "service"):
            raise
        print(
            f"error: the service needs {package} (not installed); "
            "run this in the project's folder: pip install -e '.[service]'",
            file=sys.stderr,
        )
        return 2
    return server.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
