"""Files that are written whole or not at all.

A checkpoint, an export or a report appears under its name only when every byte of it is on the disk; a crash, a full
disk or Ctrl-C leaves the old file as it was and no debris beside it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Yield a binary file (readable, seekable) that becomes `path` when the block ends, or vanishes when it raises.

    The data go to a hidden temporary file in the same folder (a rename is atomic within one file system only), are
    forced to the disk, and the file is renamed over `path`. Permissions follow the umask, or the file that is replaced.
    Raises OSError (with the file's name) when the folder cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(21, "is a folder; give a file name", str(target))
    target = target.resolve()  # a link stays a link: its target is replaced
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        file = open(temporary, "x+b")  # noqa: SIM115 - closed below, before the rename
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(target)) from None  # name the user's file, not ours
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            os.chmod(temporary, target.stat().st_mode & 0o7777)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Force the rename itself to the disk, where the system can (not on Windows)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder that becomes `folder` when the block ends, and vanishes when the block raises.

    `folder` may stand there empty. Raises OSError when it holds something by then, or cannot be written.
    """
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, lines: Sequence[str]) -> None:
    """One line each, ended by LF only."""
    path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8"))


def read_text(path: Path) -> list[str]:
    """The lines written by `write_text`, exactly."""
    return path.read_bytes().decode("utf-8").split("\n")[:-1]
