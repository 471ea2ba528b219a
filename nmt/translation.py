"""Values on the way from text to text: the plan of a text, its translation, and the candidates in between.

In the way of the data: made and consumed by the **translator**. Plain values, without an engine or a model.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from nmt.search.request import Request, SearchOptions
from nmt.text.alignment import align, text_of
from nmt.text.protected import Protected, is_restored, restore, restore_text


@dataclass(frozen=True)
class Reading:
    """A clean text as the model reads it."""

    text: str
    """of the length of the clean text, but maybe in another letter case"""
    ids: tuple[int, ...]
    upper: bool = False
    """whether the translation is to be in capitals"""


@dataclass(frozen=True)
class Segment:
    """A part of the text that is translated as one sentence."""

    text: str
    """cleaned"""
    reading: Reading
    request: Request
    keep_form: bool = True
    """whether the translation is to end like the text"""
    halved: bool = False
    """whether it is half of a segment whose translation did not finish"""


@dataclass(frozen=True)
class Plan:
    """The segments of one text, and the searches that are still to be run."""

    source: str
    parts: tuple[str | Segment, ...]
    """in order: strings that are copied, and segments that are translated"""
    requests: tuple[Request, ...]
    """searches still to be run; their keys are unique in the process"""
    options: SearchOptions
    sources: tuple[str, ...]
    """the text of each part as it is in `source`; that of a halved segment is with its first half"""

    def edges(self) -> list[int]:
        """Return the parts that begin a unit: a segment with the copied text before it; the last has what follows."""
        edges, found = [0], False
        for n, part in enumerate(self.parts):
            if found and self.sources[n]:
                edges.append(n)
                found = False
            found |= isinstance(part, Segment)
        return edges if found or len(edges) == 1 else edges[:-1]

    def units(self) -> list[Plan]:
        """Return a plan for each unit; together they are this plan."""
        units = []
        for begin, end in itertools.pairwise([*self.edges(), len(self.parts)]):
            parts, sources = self.parts[begin:end], self.sources[begin:end]
            requests = tuple(part.request for part in parts if isinstance(part, Segment))
            units.append(Plan("".join(sources), parts, requests, self.options, sources))
        return units


@dataclass(frozen=True)
class SegmentTranslation:
    """The best translation of one segment, with its pieces, probabilities and attention."""

    source: str
    text: str
    source_pieces: list[str]
    """S, with the end label"""
    target_pieces: list[str]
    """T, with the end label if the translation is complete"""
    token_log_probs: list[float]
    """T, natural logarithm"""
    attention: Tensor
    """(T, S) float32: attention weights, rows sum to one"""
    complete: bool
    """False if the length limit truncated it"""


@dataclass(frozen=True)
class Translation:
    """The translation of one text."""

    source: str
    text: str
    score: float
    """geometric mean of the probabilities of its pieces, 0 to 1; 1 if nothing had to be translated"""
    log_prob: float
    """sum over all its pieces, natural logarithm"""
    segments: tuple[SegmentTranslation, ...]
    alternatives: tuple[str, ...] = ()
    """other translations, best first, at most n_best - 1; all differ from `text` and from each other"""
    alternative_scores: tuple[float, ...] = ()
    """their geometric means, as `score`"""
    alternative_truncated: tuple[bool, ...] = ()
    """whether the length limit truncated them; complete ones come first, whatever their scores"""
    truncated: bool = False
    """whether the length limit truncated the translation of a segment, even after the segment was halved"""
    edges: tuple[tuple[int, int, int], ...] = ((0, 0, 0),)
    """where its units (see `Plan.edges`) begin: in `source`, in `text`, and in `segments`"""

    def units(self) -> list[Translation]:
        """Return the translation of each unit, without alternatives; together they are this one."""
        end = len(self.source), len(self.text), len(self.segments)
        return [
            replace(
                self,
                source=self.source[begin[0] : end[0]],
                text=self.text[begin[1] : end[1]],
                segments=self.segments[begin[2] : end[2]],
                alternatives=(),
                alternative_scores=(),
                alternative_truncated=(),
                edges=((0, 0, 0),),
            )
            for begin, end in itertools.pairwise([*self.edges, end])
        ]

    def restored(self, protected: Protected, source: str) -> Translation:
        """Return the translation of `source` if this is that of the text with stand-ins in place of its parts."""
        if is_restored(protected, self.text):
            return self
        words = align(self.source, self.text, self.segments)
        return replace(
            self,
            source=source,
            text=protected.fill(text_of(restore(protected, words))),
            alternatives=tuple(restore_text(protected, text) for text in self.alternatives),
            segments=tuple(
                replace(segment, source=protected.fill(segment.source), text=protected.fill(segment.text))
                for segment in self.segments
            ),
        )


@dataclass(frozen=True)
class Candidate:
    """One translation of the text up to some part."""

    text: str
    truncated: int  # number of its segments whose translation did not finish
    log_prob: float
    tokens: int
    score: float  # sum of the segments' normalised scores

    @property
    def rank(self) -> tuple[int, float]:
        """Higher is better: complete before truncated, as in `Result.hypotheses`, then by score."""
        return -self.truncated, self.score

    @property
    def confidence(self) -> float:
        return math.exp(self.log_prob / self.tokens) if self.tokens else 1.0

    def then(self, copied: str) -> Candidate:
        return replace(self, text=self.text + copied)


def combine(left: Sequence[Candidate], right: Sequence[Candidate], count: int) -> list[Candidate]:
    """Return the `count` best of all concatenations of one of `left` and one of `right`, each best first."""
    pairs = (
        Candidate(
            a.text + b.text,
            a.truncated + b.truncated,
            a.log_prob + b.log_prob,
            a.tokens + b.tokens,
            a.score + b.score,
        )
        for (i, a), (j, b) in itertools.product(enumerate(left), enumerate(right))
        if (i + 1) * (j + 1) <= count  # at least (i + 1) (j + 1) - 1 others are as good or better
    )
    return heapq.nlargest(count, pairs, key=lambda candidate: candidate.rank)
