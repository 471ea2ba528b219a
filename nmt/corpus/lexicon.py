"""A lexical table: the target pieces that each source piece is most often translated to.

In the way of the data: prepared corpus -> **lexicon** -> export, for the shortlist of the search. The probabilities are
those of IBM model 1 (Brown et al. 1993, section 4.2), on pieces, trained by expectation maximisation:

    p(t_j comes from s_i) = tau(t_j | s_i) / sum_i' tau(t_j | s_i')        tau(t | s) ~ sum of it over the corpus

where each source sentence has an empty word beside its pieces.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nmt.corpus.prepared import Pieces
from nmt.text.special_ids import EOS, PAD

MAX_LINKS = 20_000_000
"""pairs of a source and a target piece in one sentence that are read; of a larger corpus, evenly chosen sentences"""


def best_translations(
    source: Pieces,
    target: Pieces,
    vocabulary: int,
    count: int,
    iterations: int = 5,
    max_links: int = MAX_LINKS,
) -> NDArray[np.int32]:
    """Return the `count` most probable target pieces of each source piece: (vocabulary, count), filled up with PAD."""
    empty = vocabulary  # the id of the empty word
    src, tgt, position = _links(source, target, empty, max_links)
    keys, link = np.unique(src * vocabulary + tgt, return_inverse=True)  # one entry for each pair of pieces
    owner = keys // vocabulary  # the source piece of each entry
    tau = np.ones(len(keys))
    for _ in range(iterations):
        share = tau[link]
        share /= np.bincount(position, share)[position]
        counts = np.bincount(link, share)
        tau = counts / np.bincount(owner, counts)[owner]
    listed = owner < empty
    keys, owner, tau = keys[listed], owner[listed], tau[listed]
    order = np.lexsort((-tau, owner))  # by source piece, the most probable first
    rank = np.arange(len(keys)) - np.searchsorted(owner[order], owner[order])
    best = order[rank < count]
    table = np.full((vocabulary, count), PAD, np.int32)
    table[owner[best], rank[rank < count]] = keys[best] % vocabulary
    return table


def most_frequent(target: Pieces, vocabulary: int, count: int) -> NDArray[np.int32]:
    """Return the `count` most frequent pieces of a text, without special ones."""
    frequency = np.bincount(target.ids, minlength=vocabulary)
    frequency[: EOS + 1] = 0
    return np.argsort(-frequency, kind="stable")[:count].astype(np.int32)


def _links(
    source: Pieces, target: Pieces, empty: int, most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return all pairs of a source and a target piece of one sentence, and the target's position in the corpus.

    They are three arrays (links,). The piece `empty` stands in each source sentence.
    """
    sizes = (source.lengths + 1) * target.lengths
    every = max(1, -(-int(sizes.sum()) // most))
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    for n in range(0, len(source), every):
        src, tgt = np.append(source[n].astype(np.int64), empty), target[n].astype(np.int64)
        at = int(target.starts[n]) + np.arange(len(tgt))
        parts.append((np.tile(src, len(tgt)), np.repeat(tgt, len(src)), np.repeat(at, len(src))))
    src, tgt, position = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return src, tgt, np.unique(position, return_inverse=True)[1]
