"""The attention weights in chosen sentences.

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
    """A sentence, its translation and the attention weights between them."""

    source: list[str]
    """S pieces"""
    target: list[str]
    """T pieces"""
    weights: list[list[float]]
    """(T, S)"""


def choose_sentences(lines: Sequence[str], lengths: Sequence[int]) -> list[str]:
    """Choose for each of `lengths`, in words, the first line of the nearest length; no line twice."""
    chosen: list[str] = []
    for length in lengths:
        left = [line for line in lines if line not in chosen and line.strip()]
        if left:
            chosen.append(min(left, key=lambda line, length=length: abs(words(line) - length)))  # type: ignore[misc]
    return chosen


def align(out: Path, member: Member, lines: Sequence[str]) -> list[Alignment]:
    """Translate `lines` with the member's best model and return its attention weights."""
    return [
        Alignment(segment.source_pieces, segment.target_pieces, segment.attention.tolist())
        for translation in translate(out, member, lines)
        for segment in translation.segments
    ]
