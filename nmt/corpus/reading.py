"""Parallel text from files, plain or gzip: two files with corresponding lines, or one TSV.

In the way of the data: the first step. It returns raw lines without their line ends. Errors name the file and the line.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nmt.errors import CorpusError

_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class ParallelText:
    """Raw lines of one pair of files, or of one TSV; line n of one side translates line n of the other."""

    label: str
    """the file names, for reports"""
    src: list[str]
    tgt: list[str]


def read_bytes(path: Path, hint: str = "check the name") -> bytes:
    """Return the bytes of a file; raises `CorpusError` if it cannot be read, with `hint` if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file; {hint}") from None
    except IsADirectoryError:
        raise CorpusError(f"{path}: is a folder; give a text file") from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror or error}") from None


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file, plain or gzip (recognised by its first bytes, not its name).

    Lines end at LF or CR LF only: other Unicode line separators on one side must not shift it against the other. A byte
    order mark is removed. Raises `CorpusError` for a missing, empty, truncated or damaged file, and for invalid UTF-8.
    """
    data = read_bytes(path)
    if data.startswith(_GZIP_MAGIC):
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error):
            raise CorpusError(f"{path}: the gzip data is truncated or damaged; fetch or compress it again") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise CorpusError(f"{path}: UTF-16, not UTF-8; convert it: iconv -f utf-16 -t utf-8")
    data = data.removeprefix(_BOM)
    if not data:
        raise CorpusError(f"{path}: is empty; give a file with one sentence per line")
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path}: line {line} is not valid UTF-8 (byte 0x{data[error.start]:02x}); "
            "convert the file, e.g. iconv -f latin1 -t utf-8"
        ) from None
    if not lines[-1]:  # a trailing newline adds no empty line
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_pair(src: Path, tgt: Path) -> ParallelText:
    """Read two files with corresponding lines; raises `CorpusError` if their numbers of lines differ."""
    text = ParallelText(f"{src.name} | {tgt.name}", read_lines(src), read_lines(tgt))
    if len(text.src) != len(text.tgt):
        raise CorpusError(
            f"{src} has {len(text.src):,} lines but {tgt} has {len(text.tgt):,}; "
            "line n of one must translate line n of the other"
        )
    return text


def read_tsv(path: Path, columns: tuple[int, int] = (0, 1)) -> ParallelText:
    """Read source and target from two columns of a tab-separated file, ignoring the others."""
    text = ParallelText(path.name, [], [])
    for number, line in enumerate(read_lines(path), 1):
        cells = line.split("\t")
        if len(cells) <= max(columns):
            raise CorpusError(
                f"{path}: line {number} has {len(cells)} column{'s' * (len(cells) > 1)}, at least {max(columns) + 1} "
                "are needed: source, a tab, target"
            )
        text.src.append(cells[columns[0]])
        text.tgt.append(cells[columns[1]])
    return text


def read_all(
    src: Sequence[Path], tgt: Sequence[Path], tsv: Sequence[Path], columns: tuple[int, int], name: str
) -> list[ParallelText]:
    """Read all text of one split of one direction; `name` (e.g. data.train) is the prefix of the settings in errors."""
    if len(src) != len(tgt):
        raise CorpusError(f"{name}_src names {len(src)} files but {name}_tgt {len(tgt)}; give equally many")
    for one, other in zip(src, tgt, strict=True):
        if os.path.abspath(one) == os.path.abspath(other):
            raise CorpusError(f"{one}: given as source and as target of {name.rpartition('.')[2]}")
    pairs = [read_pair(one, other) for one, other in zip(src, tgt, strict=True)]
    return pairs + [read_tsv(path, columns) for path in tsv]
