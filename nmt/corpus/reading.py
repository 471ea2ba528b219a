"""Parallel text from files: plain or gzip, two files side by side or one TSV; every defect named with file and line.

In the way of the data: the first step. What comes out are raw lines, without their line ends only.
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
    """the file names, as shown in reports"""
    src: list[str]
    tgt: list[str]


def read_bytes(path: Path) -> bytes:
    """The file's bytes, or a `CorpusError` that says what is wrong with the file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        hint = "check data.root and the name (`python -m nmt.data fetch` gets public corpora)"
        raise CorpusError(f"{path}: no such file; {hint}") from None
    except IsADirectoryError:
        raise CorpusError(f"{path}: is a folder; give a text file") from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror or error}") from None


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file, plain or gzip (told by its first bytes, not its name).

    A line ends at LF or CR LF and nowhere else, so that a stray separator cannot shift one side against the other; a
    byte order mark is left out. Raises `CorpusError` for a missing, empty, truncated or damaged file and for invalid
    UTF-8 (with the line).
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
        raise CorpusError(f"{path}: is empty; give a file with a sentence a line")
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path}: line {line} is not valid UTF-8 (byte 0x{data[error.start]:02x}); "
            "convert the file, e.g. iconv -f latin1 -t utf-8"
        ) from None
    if not lines[-1]:  # the last line end ends a line; it does not begin another
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_pair(src: Path, tgt: Path) -> ParallelText:
    """Two files side by side; raises `CorpusError` with both names and counts when the numbers of lines differ."""
    text = ParallelText(f"{src.name} | {tgt.name}", read_lines(src), read_lines(tgt))
    if len(text.src) != len(text.tgt):
        raise CorpusError(
            f"{src} has {len(text.src):,} lines but {tgt} has {len(text.tgt):,}; "
            "line n of one must translate line n of the other"
        )
    return text


def read_tsv(path: Path, columns: tuple[int, int] = (0, 1)) -> ParallelText:
    """Source and target from two columns of a tab-separated file; more columns are ignored."""
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
    """All text of one split of one direction; `name` (data.train, data.valid, ...) names the settings in errors."""
    if len(src) != len(tgt):
        raise CorpusError(f"{name}_src names {len(src)} files but {name}_tgt {len(tgt)}; give as many")
    for one, other in zip(src, tgt, strict=True):
        if os.path.abspath(one) == os.path.abspath(other):
            raise CorpusError(f"{one}: given as source and as target of {name.rpartition('.')[2]}")
    pairs = [read_pair(one, other) for one, other in zip(src, tgt, strict=True)]
    return pairs + [read_tsv(path, columns) for path in tsv]
