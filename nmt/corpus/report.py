"""What became of every line of a corpus: read, kept, dropped and why, file by file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Dropped:
    """How many pairs went for one reason, and the first of them (line number in the file, from 1)."""

    count: int
    first_line: int


@dataclass
class FileReport:
    """One file pair (or TSV): `read` = `kept` + `held_out` + all that was dropped."""

    split: str
    name: str
    read: int
    kept: int
    held_out: int = 0
    """pairs of a training file that went to validation or test"""
    dropped: dict[str, Dropped] = field(default_factory=dict)

    def drop(self, reason: str, line: int) -> None:
        """Move one pair from kept to dropped."""
        self.kept -= 1
        entry = self.dropped.setdefault(reason, Dropped(0, line))
        entry.count += 1
        entry.first_line = min(entry.first_line, line)


@dataclass
class Report:
    """The whole account of a prepared corpus; `str()` is for people, `to_dict()` for JSON."""

    files: list[FileReport] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    """pairs a split"""
    directions: dict[str, dict[str, int]] = field(default_factory=dict)
    """of them, where there are several directions: pairs a split and direction"""
    pieces: dict[str, int] = field(default_factory=dict)
    """pieces a split, both sides"""
    unknown: dict[str, int] = field(default_factory=dict)
    """unknown pieces a split, both sides"""
    tokenizer: str = ""
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        if not self.directions:  # a corpus of one direction has no such entry
            del values["directions"]
        return values

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
