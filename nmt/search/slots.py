"""Slots: the tensors of sentences that are being decoded, each with K live hypotheses.

In the way of the data: encoder -> **slots** -> search. All tensors have the slot as their first dimension, so a slot is
moved, copied and dropped by one rule; a slot knows its own limits and its own time, so neighbours never matter.
Dimensions as in `nmt/model.py`; L is the longest target a history has room for, in pieces, EOS included.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a NamedTuple's string annotations (pytorch#95858).
from typing import NamedTuple

import torch
from torch import Tensor

from nmt.search.interface import Memory


class Limits(NamedTuple):
    """What a request asks of its search, one entry a slot."""

    max_length: Tensor
    """(B,) int64: most pieces, EOS included, at least 1"""
    min_length: Tensor
    """(B,) int64: fewest pieces, EOS included"""
    length_penalty: Tensor
    """(B,) float32: the exponent alpha of `length_penalty`"""
    n_best: Tensor
    """(B,) int64: hypotheses wanted, 1..K"""
    ngram: Tensor
    """(B,) int64: no n-gram of this size occurs twice in a hypothesis; 0 is off"""
    unknown: Tensor
    """(B,) bool: whether UNK may be said"""
    prefix: Tensor
    """(B, P) int64: the pieces a hypothesis must begin with, padded with PAD; P may be 0"""


class Slots(NamedTuple):
    """Sentences in the middle of their search."""

    memory: Memory
    """the encoded sources; S may be wider than needed"""
    limits: Limits
    state: list[Tensor]
    """the decoder's, each (B, K, ·)"""
    tokens: Tensor
    """(B, K) int64: the last piece of each live hypothesis"""
    scores: Tensor
    """(B, K) float32: their log-probabilities, best first; -inf where there are fewer"""
    pool: Tensor
    """(B, K) float32: normalised scores of the best finished hypotheses, best first; -inf where there are fewer"""
    time: Tensor
    """(B,) int64: pieces said so far"""


class History(NamedTuple):
    """What was said at each time of a slot, never reordered: the hypotheses are walked back once, at the end."""

    parents: Tensor
    """(B, L, K) int64: which hypothesis this one goes on from"""
    tokens: Tensor
    """(B, L, K) int64: the piece it adds"""
    log_probs: Tensor
    """(B, L, K) float32: that piece's log-probability"""
    ended: Tensor
    """(B, L, K) float32: the normalised score of a parent that ended here, -inf where it did not"""
    eos: Tensor
    """(B, L, K) float32: the log-probability of EOS behind a parent"""
    attention: Tensor
    """(B, L, K, S) float32: where a parent looked"""


def open_slots(memory: Memory, state: list[Tensor], limits: Limits, beam: int, first: int) -> Slots:
    """Slots for B sentences just encoded, with one live hypothesis each, the piece `first`.

    `state` is the decoder's first, each (B, ·).
    """
    shape = [memory.mask.size(0), beam]
    repeated = [s.unsqueeze(1).repeat(1, beam, 1) for s in state]  # copies: the search writes into them
    tokens = torch.full(shape, first, dtype=torch.int64, device=memory.mask.device)
    pool = torch.full(shape, float("-inf"), device=memory.mask.device)
    scores = pool.clone()
    scores[:, 0] = 0.0
    return Slots(memory, limits, repeated, tokens, scores, pool, torch.zeros_like(tokens[:, 0]))


def open_history(slots: Slots, sentences: int, length: int, width: int) -> History:
    """Room for `sentences` slots like `slots`, of at most `length` target and `width` source pieces."""
    tokens = slots.tokens.new_zeros(sentences, length, slots.tokens.size(1))
    scores = slots.scores.new_zeros(sentences, length, slots.scores.size(1))
    attention = slots.scores.new_zeros(sentences, length, slots.scores.size(1), width)
    return History(tokens, tokens.clone(), scores, scores.clone(), scores.clone(), attention)


def keep_slots(slots: Slots, rows: Tensor) -> Slots:
    """A copy of the slots `rows` (R,)."""
    memory, limits = slots.memory, slots.limits
    return Slots(
        Memory(memory.values[rows], memory.keys[rows], memory.mask[rows]),
        Limits(
            limits.max_length[rows],
            limits.min_length[rows],
            limits.length_penalty[rows],
            limits.n_best[rows],
            limits.ngram[rows],
            limits.unknown[rows],
            limits.prefix[rows],
        ),
        [s[rows] for s in slots.state],
        slots.tokens[rows],
        slots.scores[rows],
        slots.pool[rows],
        slots.time[rows],
    )


def keep_history(history: History, rows: Tensor, length: int) -> History:
    """A copy of the first `length` times of the slots `rows` (R,)."""
    return History(
        history.parents[:, :length][rows],
        history.tokens[:, :length][rows],
        history.log_probs[:, :length][rows],
        history.ended[:, :length][rows],
        history.eos[:, :length][rows],
        history.attention[:, :length][rows],
    )


def record(
    history: History,
    time: Tensor,
    parents: Tensor,
    tokens: Tensor,
    log_probs: Tensor,
    ended: Tensor,
    eos: Tensor,
    attention: Tensor,
) -> None:
    """Write what was said at `time` (B,) of each slot, the rest as in `History` without L, in place."""
    rows = torch.arange(time.size(0), device=time.device)
    history.parents[rows, time] = parents
    history.tokens[rows, time] = tokens
    history.log_probs[rows, time] = log_probs
    history.ended[rows, time] = ended
    history.eos[rows, time] = eos
    history.attention[:, :, :, : attention.size(2)][rows, time] = attention


def walk_back(parents: Tensor, row: Tensor, time: Tensor) -> Tensor:
    """The row of each hypothesis at each time, found from the back-pointers.

    `parents` is (B, L, K) as in `History`. A hypothesis is the live one in `row` (B, n) after `time` (B, n) pieces;
    entry t of the result (B, n, L + 1) is its row after t pieces, and `row` itself for t >= time.
    """
    rows = [row]
    for t in range(parents.size(1) - 1, -1, -1):
        row = torch.where(t < time, parents[:, t].gather(1, row), row)
        rows.append(row)
    rows.reverse()
    return torch.stack(rows, dim=2)
