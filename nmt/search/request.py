"""What is asked of a search, and what comes back.

In the way of the data: pieces -> **Request** -> engine -> **Result** -> pieces. Plain values, good in any thread.
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
    """How to search; raises `SearchError` for a value out of range."""

    beam: int = 5
    """hypotheses kept alive; 1 is greedy"""
    n_best: int = 1
    """hypotheses wanted, at most `beam`"""
    length_penalty: float = 1.0
    """exponent alpha of the length penalty (Wu et al. 2016, eq. 14); 0 prefers short hypotheses"""
    max_length: int | None = None
    """most pieces of a hypothesis, EOS included; besides, the two numbers below always bound it"""
    max_length_factor: float = 2.0
    """most pieces of a hypothesis for each piece of the source ..."""
    max_length_extra: int = 10
    """... and so many more"""
    min_length: int = 0
    """fewest pieces of a hypothesis, EOS included"""
    no_repeat_ngram: int = 0
    """no sequence of so many pieces occurs twice in a hypothesis; 0 is off"""
    allow_unknown: bool = True
    """whether the unknown piece may be said"""

    def __post_init__(self) -> None:
        for name, least in (
            ("beam", 1),
            ("n_best", 1),
            ("max_length_extra", 0),
            ("min_length", 0),
            ("no_repeat_ngram", 0),
        ):
            if getattr(self, name) < least:
                raise SearchError(f"{name} is {getattr(self, name)}: give a number from {least} on")
        for name in ("length_penalty", "max_length_factor"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise SearchError(f"{name} is {value}: give a number from 0 on")
        if self.n_best > self.beam:
            raise SearchError(f"n_best is {self.n_best} but beam is {self.beam}: give a beam of {self.n_best} or more")
        if self.max_length is not None and self.max_length < 1:
            raise SearchError(f"max_length is {self.max_length}: give a number from 1 on")
        if self.max_length is not None and self.min_length > self.max_length:
            raise SearchError(f"min_length is {self.min_length} but max_length is {self.max_length}: lower the first")

    def limit(self, source_length: int) -> int:
        """Most pieces of a hypothesis, EOS included, for a source of so many pieces."""
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


@dataclass(frozen=True)
class Request:
    """One sentence to be translated; raises `SearchError` for one that cannot be."""

    key: Hashable
    """names it in the engine, where it is unique"""
    src: tuple[int, ...]
    """pieces, EOS last"""
    options: SearchOptions = SearchOptions()
    prefix: tuple[int, ...] = ()
    """pieces that each hypothesis must begin with"""

    def __post_init__(self) -> None:
        if not self.src:
            raise SearchError(f"request {self.key!r}: an empty source; end it with EOS at least")
        if {PAD, BOS, EOS} & set(self.prefix) or (UNK in self.prefix and not self.options.allow_unknown):
            raise SearchError(
                f"request {self.key!r}: a special piece in the prefix {self.prefix}; give text pieces only"
            )
        if len(self.prefix) >= self.max_length:
            raise SearchError(
                f"request {self.key!r}: a prefix of {len(self.prefix)} pieces leaves no room below the longest "
                f"hypothesis of {self.max_length}; raise max_length or max_length_extra"
            )

    @property
    def max_length(self) -> int:
        """Most pieces of a hypothesis, EOS included."""
        return self.options.limit(len(self.src))


@dataclass(frozen=True)
class Hypothesis:
    """One translation of a request."""

    ids: list[int]
    """pieces, without EOS"""
    score: float
    """log-probability divided by the length penalty"""
    log_prob: float
    """natural logarithm of the probability, the sum of `token_log_probs`"""
    token_log_probs: list[float]
    """of each piece, EOS included where complete"""
    attention: Tensor
    """(len(token_log_probs), S) float32 on the CPU: where the model looked before each piece"""
    complete: bool
    """False where the length limit cut it"""


@dataclass(frozen=True)
class Result:
    """What became of a request."""

    key: Hashable
    hypotheses: list[Hypothesis] = field(default_factory=list)
    """up to `n_best`: complete ones, best first, then those that were cut; none where there is an error"""
    error: Exception | None = None
