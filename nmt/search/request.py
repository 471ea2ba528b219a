"""What goes into the search and what comes out: requests with their options, results with their hypotheses.

In the way of the data: pieces -> **Request** -> engine -> **Result** -> pieces. Plain values, safe to pass between
threads.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TypedDict

from torch import Tensor

from nmt.errors import SearchError
from nmt.text.special_ids import BOS, EOS, PAD, UNK


@dataclass(frozen=True)
class SearchOptions:
    """Options of the beam search; raises `SearchError` for a value out of range.

    The maximum length of a hypothesis is `max_length_factor * source length + max_length_extra`, and at most
    `max_length` where that is set. All lengths are in pieces.
    """

    beam: int = 5
    """number of live hypotheses; 1 is greedy search"""
    n_best: int = 1
    """number of hypotheses to return, at most `beam`"""
    length_penalty: float = 1.0
    """exponent alpha of the length penalty (Wu et al. 2016, eq. 14); 0 prefers short hypotheses"""
    max_length: int | None = None
    """maximum length, EOS included; None leaves it to the two options below, which always apply"""
    max_length_factor: float = 2.0
    """maximum length for each source piece (EOS is one)"""
    max_length_extra: int = 10
    """added to the maximum length that `max_length_factor` gives"""
    min_length: int = 0
    """minimum length, EOS included"""
    no_repeat_ngram: int = 0
    """no n-gram of this size may occur twice in a hypothesis; 0 allows all"""
    allow_unknown: bool = True
    """whether the unknown piece may be generated"""
    stop_at: int = 0
    """number of complete hypotheses at which the search ends, `n_best` to `beam`; 0: when none can be better"""

    def __post_init__(self) -> None:
        for name, least in (
            ("beam", 1),
            ("n_best", 1),
            ("max_length_extra", 0),
            ("min_length", 0),
            ("no_repeat_ngram", 0),
            ("stop_at", 0),
        ):
            if getattr(self, name) < least:
                raise SearchError(f"{name} is {getattr(self, name)}: it must be at least {least}")
        for name in ("length_penalty", "max_length_factor"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise SearchError(f"{name} is {value}: it must be a finite number of at least 0")
        if self.n_best > self.beam:
            raise SearchError(f"n_best is {self.n_best} but beam is {self.beam}: give a beam of {self.n_best} or more")
        if self.stop_at and not self.n_best <= self.stop_at <= self.beam:
            raise SearchError(
                f"stop_at is {self.stop_at}: it must be 0, or from n_best ({self.n_best}) to beam ({self.beam})"
            )
        if self.max_length is not None and self.max_length < 1:
            raise SearchError(f"max_length is {self.max_length}: it must be at least 1")
        if self.max_length is not None and self.min_length > self.max_length:
            raise SearchError(f"min_length is {self.min_length} but max_length is {self.max_length}: lower min_length")

    def limit(self, source_length: int) -> int:
        """Return the maximum length of a hypothesis for a source of `source_length` pieces; EOS included in both."""
        # A min_length above the limit raises it, so that the two can always be met together.
        limit = max(1, self.min_length, math.ceil(self.max_length_factor * source_length) + self.max_length_extra)
        return limit if self.max_length is None else min(limit, self.max_length)


class SearchKeywords(TypedDict, total=False):
    """The fields of `SearchOptions` as keywords; None keeps the model's default."""

    beam: int | None
    n_best: int | None
    length_penalty: float | None
    max_length: int | None
    max_length_factor: float | None
    max_length_extra: int | None
    min_length: int | None
    no_repeat_ngram: int | None
    allow_unknown: bool | None
    stop_at: int | None


@dataclass(frozen=True)
class Request:
    """One sentence to be translated; raises `SearchError` if its source or prefix cannot be used."""

    key: Hashable
    """identifies the request; unique among those in the engine"""
    src: tuple[int, ...]
    """source pieces, EOS last"""
    options: SearchOptions = SearchOptions()
    prefix: tuple[int, ...] = ()
    """pieces that every hypothesis begins with; no special ones"""

    def __post_init__(self) -> None:
        if not self.src:
            raise SearchError(f"request {self.key!r}: an empty source; it must have EOS at least")
        if {PAD, BOS, EOS} & set(self.prefix) or (UNK in self.prefix and not self.options.allow_unknown):
            raise SearchError(
                f"request {self.key!r}: a special piece in the prefix {self.prefix}; give text pieces only"
            )
        # One piece at least must remain to be generated, be it EOS.
        if len(self.prefix) >= self.max_length:
            raise SearchError(
                f"request {self.key!r}: a prefix of {len(self.prefix)} pieces leaves no room, for the maximum length "
                f"is {self.max_length}; raise max_length or max_length_extra"
            )

    @property
    def max_length(self) -> int:
        """Maximum length of a hypothesis in pieces, EOS included."""
        return self.options.limit(len(self.src))


@dataclass(frozen=True)
class Hypothesis:
    """One translation of a request, with the T pieces that the model generated."""

    ids: list[int]
    """the pieces without EOS: T - 1 of them where `complete`, else T"""
    score: float
    """log-probability divided by the length penalty; the hypotheses of a request are ranked by it"""
    log_prob: float
    """natural logarithm of the probability, the sum of `token_log_probs`"""
    token_log_probs: list[float]
    """(T) log-probability of each piece, EOS included where `complete`"""
    attention: Tensor
    """(T, S) float32 on the CPU: attention weights over the source pieces with which each piece was generated"""
    complete: bool
    """True if it ends with EOS, False if it was truncated at the maximum length"""


@dataclass(frozen=True)
class Result:
    """The outcome of a request: its hypotheses, or an error."""

    key: Hashable
    """the key of the request"""
    hypotheses: list[Hypothesis] = field(default_factory=list)
    """up to `n_best`: complete ones, best first, then truncated ones, best first; none if there is an error"""
    error: Exception | None = None
    """`SearchError` if no hypothesis meets the options, or what the model raised"""
