"""The report on a corpus: how many lines of each file were read, kept and dropped, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Dropped:
    """How many pairs were dropped for one reason, and the first of them (line number in the file, from 1)."""

    count: int
    first_line: int


@dataclass
class FileReport:
    """One file pair (or TSV): `read` = `kept` + `held_out` + the number of dropped pairs."""

    split: str
    name: str
    read: int
    kept: int
    held_out: int = 0
    """pairs of a training file that became validation or test pairs"""
    dropped: dict[str, Dropped] = field(default_factory=dict)

    def drop(self, reason: str, line: int) -> None:
        """Count one pair as dropped instead of kept."""
        self.kept -= 1
        entry = self.dropped.setdefault(reason, Dropped(0, line))
        entry.count += 1
        entry.first_line = min(entry.first_line, line)


@dataclass
class Report:
    """The report on a whole corpus, as text by `str()` and as JSON by `to_dict()`."""

    files: list[FileReport] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    """pairs per split"""
    directions: dict[str, dict[str, int]] = field(default_factory=dict)
    """pairs per split and direction, where there are several directions"""
    pieces: dict[str, int] = field(default_factory=dict)
    """pieces per split, both sides"""
    unknown: dict[str, int] = field(default_factory=dict)
    """unknown pieces per split, both sides"""
    tokenizer: str = ""
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Report:
        """The inverse of `to_dict`; raises KeyError or TypeError on other values."""
        fields = dict(values)
        fields["files"] = [
            FileReport(**{**file, "dropped": {reason: Dropped(**d) for reason, d in file["dropped"].items()}})
            for file in fields["files"]
        ]
        return cls(**fields)

    def __str__(self) -> str:
        lines: list[str] = []
        for file in self.files:
            held = f", {file.held_out:,} held out" if file.held_out else ""
            lines.append(f"{file.split:5}  {file.name}: {file.read:,} read, {file.kept:,} kept{held}")
            for reason, dropped in file.dropped.items():
                lines.append(f"       dropped {dropped.count:,}: {reason} (first: line {dropped.first_line:,})")
        for split, size in self.sizes.items():
            text = f"{split:5}  {size:,} pairs"
            if split in self.pieces:
                text += f", {self.pieces[split]:,} pieces, {self.unknown[split]:,} unknown"
            lines.append(text)
            if split in self.directions:
                shares = (f"{name} {count:,}" for name, count in self.directions[split].items())
                lines.append(f"       of these {', '.join(shares)}")
        if self.tokenizer:
            lines.append(f"tokenizer: {self.tokenizer}")
        return "\n".join(lines + [f"warning: {warning}" for warning in self.warnings])
