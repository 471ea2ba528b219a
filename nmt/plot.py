"""Drawings of attention: as text with shaded blocks, or as a heat map in a file.

In the way of the data: translator -> **plot** -> terminal or file. The text has no colours and no cursor movements.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from nmt.errors import MissingPackageError, NMTError
from nmt.files import atomic_write
from nmt.text.cleaning import SPACE

SHADES = " ░▒▓█"
_THRESHOLDS = (0.06, 0.2, 0.4, 0.65)  # weights from which a cell is ░ ▒ ▓ █
_LONGEST_LABEL = 14


def draw_alignment(
    source: Sequence[str], target: Sequence[str], weights: Sequence[Sequence[float]], *, width: int = 100
) -> str:
    """Draw attention `weights` (T, S), each in [0, 1], as a table of shaded cells.

    Each target piece has a line. Each source piece has two columns and is written vertically above them. A piece that
    continues a word begins with a dot. A table wider than `width` columns is continued in further tables below it.
    Raises ValueError when the sizes do not match.
    """
    if len(weights) != len(target) or any(len(row) != len(source) for row in weights):
        raise ValueError(f"weights are not {len(target)} x {len(source)}, target by source pieces")
    if not source or not target:
        return ""
    rows = [_label(piece) for piece in target]
    margin = max(_columns(row) for row in rows)
    per_table = max(4, (width - margin - 4) // 2)
    tables = [
        _table(source[begin : begin + per_table], rows, [row[begin : begin + per_table] for row in weights], margin)
        for begin in range(0, len(source), per_table)
    ]
    return "\n\n".join(tables)


def _table(source: Sequence[str], rows: Sequence[str], weights: Sequence[Sequence[float]], margin: int) -> str:
    """Draw one table; source pieces are written vertically above their columns and end at the frame."""
    labels = [_characters(_label(piece)) for piece in source]
    height = max(len(label) for label in labels)
    lines = []
    for level in range(height):
        cells = (label[level - height + len(label)] if level >= height - len(label) else " " for label in labels)
        lines.append(" " * (margin + 2) + "".join(cell + " " * (2 - _columns(cell)) for cell in cells).rstrip())
    edge = "─" * (2 * len(labels))
    lines.append(" " * (margin + 1) + f"┌{edge}┐")
    for row, line in zip(rows, weights, strict=True):
        cells = (shade(weight) * 2 for weight in line)
        lines.append(" " * (margin - _columns(row)) + f"{row} │{''.join(cells)}│")
    lines.append(" " * (margin + 1) + f"└{edge}┘")
    return "\n".join(lines)


def shade(weight: float) -> str:
    """Return the block character for an attention weight in [0, 1]."""
    return SHADES[sum(weight >= threshold for threshold in _THRESHOLDS)]


def save_heat_map(
    path: str | os.PathLike[str], source: Sequence[str], target: Sequence[str], weights: Sequence[Sequence[float]]
) -> None:
    """Write attention `weights` (T, S) as a picture (.png, .svg or .pdf).

    Raises `NMTError` for another suffix, or where matplotlib (extra `plot`) is not installed.
    """
    try:
        from matplotlib.figure import Figure  # not pyplot: no window system, no global state
    except ModuleNotFoundError:
        raise MissingPackageError(str(path), "matplotlib") from None
    kind = Path(path).suffix.lstrip(".").lower()
    if kind not in ("png", "svg", "pdf"):
        raise NMTError(f"{path}: a picture's name must end in .png, .svg or .pdf")
    figure = Figure(figsize=(1.5 + 0.35 * len(source), 1.5 + 0.3 * len(target)), layout="constrained")
    axes = figure.subplots()
    axes.imshow([list(row) for row in weights], cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xticks(range(len(source)), [_label(piece) for piece in source], rotation=90)
    axes.set_yticks(range(len(target)), [_label(piece) for piece in target])
    axes.xaxis.tick_top()
    with atomic_write(path) as file:
        figure.savefig(file, format=kind, dpi=150)


def _label(piece: str) -> str:
    """Return a piece as a label: without control characters, which would break the table, and shortened."""
    piece = "".join(c for c in piece if unicodedata.category(c)[0] != "C" or c == "\u200d")
    if piece.startswith(SPACE):
        piece = piece[1:]
    elif piece[:1].isalnum() and piece[0] < "\u2e80":
        piece = f"·{piece}"
    characters = _characters(piece)
    if len(characters) > _LONGEST_LABEL:
        characters = [*characters[: _LONGEST_LABEL - 1], "…"]
    return "".join(characters) or "·"


def _characters(text: str) -> list[str]:
    """Split text into the characters that a reader sees: a letter with its accents is one."""
    found: list[str] = []
    for character in text:
        joins = unicodedata.category(character).startswith("M") or character == "\u200d"
        if found and (joins or found[-1].endswith("\u200d")):
            found[-1] += character
        else:
            found.append(character)
    return found


def _columns(text: str) -> int:
    """Return the width of `text` in terminal columns: East Asian wide characters and emoji take two, accents none."""
    return sum(
        2 if any(unicodedata.east_asian_width(c) in "WF" for c in character) else 0 if character == "\u200d" else 1
        for character in _characters(text)
    )
