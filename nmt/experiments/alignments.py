"""Where the attention looks in chosen sentences.

In the way of the data: run folders and test sentences -> **alignments** -> figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nmt.experiments.plan import Member
from nmt.experiments.runs import translate
from nmt.experiments.scores import words


@dataclass(frozen=True)
class Alignment:
    """One sentence, its translation and the attention between them."""

    source: list[str]
    """S pieces"""
    target: list[str]
    """T pieces"""
    weights: list[list[float]]
    """(T, S)"""


def choose_sentences(lines: Sequence[str], lengths: Sequence[int]) -> list[str]:
    """For each of `lengths`, in words, the first line whose length comes nearest to it; none twice."""
    chosen: list[str] = []
    for length in lengths:
        left = [line for line in lines if line not in chosen and line.strip()]
        if left:
            chosen.append(min(left, key=lambda line, length=length: abs(words(line) - length)))  # type: ignore[misc]
    return chosen


def align(out: Path, member: Member, lines: Sequence[str]) -> list[Alignment]:
    """Translate `lines` with the member's best model and keep what its attention did."""
    return [
        Alignment(segment.source_pieces, segment.target_pieces, segment.attention.tolist())
        for translation in translate(out, member, lines)
        for segment in translation.segments
    ]
