"""The lexical table of the shortlist."""

from __future__ import annotations

import numpy as np

from nmt.corpus.lexicon import best_translations, most_frequent
from nmt.corpus.prepared import Pieces
from nmt.text.special_ids import PAD


def pieces(*sentences: list[int]) -> Pieces:
    starts = np.cumsum([0, *map(len, sentences)])
    return Pieces(np.concatenate([np.array(s, np.uint16) for s in sentences]), starts)


def reference(source: list[list[int]], target: list[list[int]], iterations: int) -> dict[tuple[int, int], float]:
    """IBM model 1 as in Brown et al. 1993, in loops."""
    tau: dict[tuple[int, int], float] = {}
    for _ in range(iterations):
        counts: dict[tuple[int, int], float] = {}
        for src, tgt in zip(source, target, strict=True):
            for t in tgt:
                total = sum(tau.get((s, t), 1.0) for s in [*src, -1])
                for s in [*src, -1]:
                    counts[s, t] = counts.get((s, t), 0.0) + tau.get((s, t), 1.0) / total
        totals: dict[int, float] = {}
        for (s, _), count in counts.items():
            totals[s] = totals.get(s, 0.0) + count
        tau = {(s, t): count / totals[s] for (s, t), count in counts.items()}
    return tau


def test_the_table_is_that_of_the_loops() -> None:
    draw = np.random.default_rng(1)
    source = [draw.integers(4, 12, draw.integers(1, 6)).tolist() for _ in range(60)]
    target = [draw.integers(4, 12, draw.integers(1, 6)).tolist() for _ in range(60)]
    table = best_translations(pieces(*source), pieces(*target), 12, 4)
    tau = reference(source, target, 5)
    for s in range(4, 12):
        found = [tau[s, int(t)] for t in table[s] if t != PAD]
        best = sorted((p for (owner, _), p in tau.items() if owner == s), reverse=True)[:4]
        np.testing.assert_allclose(found, best, rtol=1e-9)
    assert (table[:4] == PAD).all()


def test_words_find_their_translations() -> None:
    table = best_translations(pieces([4, 5], [4, 6], [5, 6]), pieces([14, 15], [16, 14], [15, 16]), 20, 1)
    assert table[4:7, 0].tolist() == [14, 15, 16]


def test_few_sentences_of_a_large_corpus_are_read() -> None:
    source, target = pieces(*[[4, 5]] * 100), pieces(*[[6, 7]] * 100)
    assert best_translations(source, target, 8, 2, max_links=30)[4].tolist() == [6, 7]


def test_most_frequent() -> None:
    assert most_frequent(pieces([1, 7, 7, 5, 6, 5, 7]), 9, 2).tolist() == [7, 5]
