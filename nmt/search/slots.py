"""Slots: the tensors of the sentences that are being decoded, each with K live hypotheses.

In the way of the data: encoder -> **slots** -> search. The first dimension of every tensor is the slot, so slots are
moved, copied and dropped by indexing rows. Each slot has its own limits and its own time step, so its result does not
depend on the others. Dimensions as in `nmt/model/seq2seq.py`; L is the target length that a history has room for, in
pieces, EOS included.

An exported file has the bundles of its own time compiled in. So the number, order and types of the fields of
`SlotLimits` and `History`, which are made outside the file, are fixed. A `Slots` comes from the file's `open` and goes
back to its other methods; only the names of its fields that are used outside are fixed.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a NamedTuple's string annotations (pytorch#95858).
from typing import NamedTuple

import torch
from torch import Tensor

from nmt.search.interface import Memory


class SlotLimits(NamedTuple):
    """The search options of each slot, as tensors."""

    max_length: Tensor
    """(B,) int64: maximum length of a hypothesis in pieces, EOS included; at least 1"""
    min_length: Tensor
    """(B,) int64: minimum length in pieces, EOS included"""
    length_penalty: Tensor
    """(B,) float32: the exponent alpha of `length_penalty`"""
    n_best: Tensor
    """(B,) int64: number of hypotheses to return, 1..K"""
    no_repeat_ngram: Tensor
    """(B,) int64: no n-gram of this size may occur twice in a hypothesis; 0 allows all"""
    allow_unknown: Tensor
    """(B,) bool: whether UNK may be generated"""
    prefix: Tensor
    """(B, P) int64: the pieces that every hypothesis must begin with, padded with PAD; P may be 0"""


class Slots(NamedTuple):
    """The present state of the search in each slot."""

    memory: Memory
    """the encoded sources; S may be larger than the longest of them"""
    limits: SlotLimits
    state: list[Tensor]
    """the decoder state of each live hypothesis, tensors (B, K, ·)"""
    tokens: Tensor
    """(B, K) int64: the last piece of each live hypothesis"""
    scores: Tensor
    """(B, K) float32: their log-probabilities, best first; -inf where there are fewer than K"""
    pool: Tensor
    """(B, K) float32: normalised scores of the K best finished hypotheses, best first; -inf where there are fewer"""
    time: Tensor
    """(B,) int64: the time step, the number of pieces generated so far"""
    stop_at: Tensor
    """(B,) int64: number of finished hypotheses at which the slot is done, 1..K; 0 for none. It is not in `SlotLimits`,
    which older files would refuse; files whose slots have it take the option"""
    candidates: list[Tensor]
    """empty if every piece may be generated; else the shortlist of each slot, (B, C) int64: ascending ids, all special
    pieces first, filled up with PAD; then the rows of the output layer for them, in the form that the search needs"""


class History(NamedTuple):
    """What each step of a slot generated, with back-pointers.

    Rows are never reordered: only the n best hypotheses are traced back, once, when the slot is done.
    """

    parents: Tensor
    """(B, L, K) int64: row of the hypothesis that this one extends, in the beam before this step"""
    tokens: Tensor
    """(B, L, K) int64: the piece that extends it"""
    log_probs: Tensor
    """(B, L, K) float32: log-probability of that piece"""
    finished: Tensor
    """(B, L, K) float32: normalised score of hypothesis k before this step if EOS finished it here, else -inf"""
    eos: Tensor
    """(B, L, K) float32: log-probability of EOS after hypothesis k before this step"""
    attention: Tensor
    """(B, L, K, S) float32: attention weights computed for hypothesis k before this step"""


def open_slots(
    memory: Memory, state: list[Tensor], limits: SlotLimits, beam: int, first: int, candidates: list[Tensor]
) -> Slots:
    """Return slots for B sentences that were just encoded, each with one live hypothesis: the piece `first` alone.

    `state` is the decoder's initial state, tensors (B, ·); `candidates` is as in `Slots`.
    """
    shape = [memory.mask.size(0), beam]
    repeated = [s.unsqueeze(1).repeat(1, beam, 1) for s in state]  # copies, for the search writes into them
    tokens = torch.full(shape, first, dtype=torch.int64, device=memory.mask.device)
    pool = torch.full(shape, float("-inf"), device=memory.mask.device)
    # All K rows are equal now. Only row 0 is live, or each hypothesis would be found K times.
    scores = pool.clone()
    scores[:, 0] = 0.0
    zeros = torch.zeros_like(tokens[:, 0])
    return Slots(memory, limits, repeated, tokens, scores, pool, zeros, zeros.clone(), candidates)


def open_history(slots: Slots, sentences: int, length: int, width: int) -> History:
    """Return an empty history for `sentences` slots like `slots`, with L = `length` and S = `width`."""
    tokens = slots.tokens.new_zeros(sentences, length, slots.tokens.size(1))
    scores = slots.scores.new_zeros(sentences, length, slots.scores.size(1))
    attention = slots.scores.new_zeros(sentences, length, slots.scores.size(1), width)
    return History(tokens, tokens.clone(), scores, scores.clone(), scores.clone(), attention)


def keep_slots(slots: Slots, rows: Tensor) -> Slots:
    """Return a copy of the slots `rows` (R,)."""
    memory, limits = slots.memory, slots.limits
    return Slots(
        Memory(memory.values[rows], memory.keys[rows], memory.mask[rows]),
        SlotLimits(
            limits.max_length[rows],
            limits.min_length[rows],
            limits.length_penalty[rows],
            limits.n_best[rows],
            limits.no_repeat_ngram[rows],
            limits.allow_unknown[rows],
            limits.prefix[rows],
        ),
        [s[rows] for s in slots.state],
        slots.tokens[rows],
        slots.scores[rows],
        slots.pool[rows],
        slots.time[rows],
        slots.stop_at[rows],
        [c[rows] for c in slots.candidates],
    )


def keep_history(history: History, rows: Tensor, length: int) -> History:
    """Return a copy of the first `length` steps of the slots `rows` (R,)."""
    return History(
        history.parents[:, :length][rows],
        history.tokens[:, :length][rows],
        history.log_probs[:, :length][rows],
        history.finished[:, :length][rows],
        history.eos[:, :length][rows],
        history.attention[:, :length][rows],
    )


def record(
    history: History,
    time: Tensor,
    parents: Tensor,
    tokens: Tensor,
    log_probs: Tensor,
    finished: Tensor,
    eos: Tensor,
    attention: Tensor,
) -> None:
    """Write one step into entry `time` (B,) of each slot, in place; the other shapes are as in `History`, without L."""
    rows = torch.arange(time.size(0), device=time.device)
    history.parents[rows, time] = parents
    history.tokens[rows, time] = tokens
    history.log_probs[rows, time] = log_probs
    history.finished[rows, time] = finished
    history.eos[rows, time] = eos
    # The history may be wider than the memory of the sentences active now; `read_results` ignores the rest.
    history.attention[:, :, :, : attention.size(2)][rows, time] = attention


def walk_back(parents: Tensor, row: Tensor, time: Tensor) -> Tensor:
    """Trace hypotheses back through the back-pointers: the row that each of them had in the beam after every step.

    `parents` is (B, L, K) as in `History`. A hypothesis is given as the live one in `row` (B, n) after `time` (B, n)
    pieces. Entry t of the result (B, n, L + 1) is its row after t pieces; for t >= time it is `row` itself.
    """
    rows = [row]
    for t in range(parents.size(1) - 1, -1, -1):
        # Slots have different times: a hypothesis shorter than t + 1 pieces has not begun its way back yet.
        row = torch.where(t < time, parents[:, t].gather(1, row), row)  # (B, n)
        rows.append(row)
    rows.reverse()
    return torch.stack(rows, dim=2)
