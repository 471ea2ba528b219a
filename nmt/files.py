"""Files and folders that are written whole or not at all.

A file appears under its name only when every byte of it is on the disk. A crash, a full disk or Ctrl-C leaves the old
file as it was.
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
    """Yield a binary file (readable, seekable) that becomes `path` when the block ends, and is deleted if it raises.

    The data are written to a hidden temporary file in the same folder (a rename is atomic within one file system only)
    and forced to the disk; then the file is renamed to `path`. Permissions follow the umask, or the replaced file's.
    Raises OSError with the file's name if the folder cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(21, "is a folder; give a file name", str(target))
    target = target.resolve()  # replace the target of a link, not the link
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
    """Force the rename itself to the disk, if the system can (not on Windows)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder that becomes `folder` when the block ends, and is deleted if the block raises.

    `folder` may exist if it is empty. Raises OSError if it is not empty by then, or cannot be written.
    """
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, lines: Sequence[str]) -> None:
    """Write one line each, ended by LF only."""
    path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8"))


def read_text(path: Path) -> list[str]:
    """Read the lines that `write_text` wrote, exactly."""
    return path.read_bytes().decode("utf-8").split("\n")[:-1]
