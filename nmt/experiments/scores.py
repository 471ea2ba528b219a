"""Scores of the translations: BLEU with a bootstrap interval, over the test set and by source length, and chrF.

In the way of the data: hypotheses and references -> **scores** -> table and figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sacrebleu

SAMPLES = 1000
"""resampled test sets for an interval"""


@dataclass(frozen=True)
class Interval:
    """A score, 0 to 100, with the 95 % interval of the bootstrap (Koehn 2004)."""

    score: float
    low: float
    high: float
    signature: str
    brevity: float
    """length of the hypotheses over that of the references, in BLEU's tokens"""


@dataclass(frozen=True)
class Bin:
    """Sources of `first` to `last` words."""

    first: int
    last: int | None
    """None: no bound"""

    def __contains__(self, words: object) -> bool:
        return isinstance(words, int) and self.first <= words and (self.last is None or words <= self.last)

    def __str__(self) -> str:
        return f">{self.first - 1}" if self.last is None else f"{self.first}-{self.last}"


@dataclass(frozen=True)
class LengthScore:
    """BLEU over the sentences of a bin."""

    bin: Bin
    sentences: int
    mean_words: float
    bleu: Interval


def bleu(hypotheses: Sequence[str], references: Sequence[str], samples: int = SAMPLES) -> Interval:
    """Compute BLEU with sacreBLEU's bootstrap: the interval has the middle 95 % of `samples` resampled test sets."""
    metric = sacrebleu.BLEU()
    score: Any = metric.corpus_score(hypotheses, [references], n_bootstrap=samples)
    return Interval(
        score.score,
        score._mean - score._ci,
        score._mean + score._ci,
        str(metric.get_signature()),
        score.sys_len / max(score.ref_len, 1),
    )


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[float, str]:
    """Compute chrF (Popović 2015), 0 to 100; returns it and its signature."""
    metric = sacrebleu.CHRF()
    return metric.corpus_score(hypotheses, [references]).score, str(metric.get_signature())


def bins(edges: Sequence[int]) -> list[Bin]:
    """Return bins that end at `edges` (ascending), and one for all longer sources."""
    starts = [1, *(edge + 1 for edge in edges)]
    return [Bin(first, last) for first, last in zip(starts, [*edges, None], strict=True)]


def words(line: str) -> int:
    """Return the length of a source in words, separated by white space."""
    return len(line.split())


def bleu_by_length(
    sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str], edges: Sequence[int]
) -> list[LengthScore]:
    """Compute BLEU over each bin that has sentences; `edges` as for `bins`."""
    found = []
    for each in bins(edges):
        chosen = [i for i, line in enumerate(sources) if words(line) in each]
        if chosen:
            mean = sum(words(sources[i]) for i in chosen) / len(chosen)
            score = bleu([hypotheses[i] for i in chosen], [references[i] for i in chosen])
            found.append(LengthScore(each, len(chosen), mean, score))
    return found
