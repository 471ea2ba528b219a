"""What all commands share: one-line errors, exit codes, and the help formatter."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from nmt.errors import NMTError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the description's lines and shows each default."""


def main_guard(main: Callable[[], int | None]) -> int:
    """Run a command's ``main``: 0 on success, 2 with one line on a user's error, 130 on Ctrl-C."""
    try:
        return main() or 0
    except NMTError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`): not an error, but Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return EXIT_USER_ERROR
