"""Beam search over slots: one step for all sentences that are being decoded, wherever each of them is.

In the way of the data: pieces -> engine -> **search** -> engine -> hypotheses. The search is a module around a model,
so that it is exported with it; it keeps nothing between calls and knows neither requests nor queues.

For a source x it looks for the hypotheses y of the highest normalised score

    s(y) = log p(y | x) / lp(y)          lp(y) = ((5 + |y|) / (5 + 1))^alpha          (Wu et al. 2016, eq. 14)

where |y| counts EOS and alpha = 0 is the plain log-probability. A step extends the K live hypotheses of a slot by every
piece. Of the K best continuations, those by EOS are finished hypotheses; the K best others live on. So K = 1 is greedy
search, and a beam as wide as all prefixes is exhaustive. A slot is done as soon as one of these holds:

    1. it has K finished hypotheses, and the best live one, normalised as it stands, is below the n-th best of them;
    2. no live hypothesis can become one of the n best: log-probabilities only fall and lp only grows, so no descendant
       of a live y scores above log p(y) / lp(longest), which is compared with the n-th best finished score;
    3. it has said as many pieces as it may; the live hypotheses then fill up the n best, marked as not complete.

The first is the only pruning beside the beam itself: K = 1 stops at the first EOS. (The plain rule, K finished and no
more, stops as fast but at slightly worse hypotheses: endings of rank K also fill the pool.) The second is exact.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a NamedTuple's string annotations (pytorch#95858).
from typing import ClassVar, Final, NamedTuple

import torch
from torch import Tensor, nn

from nmt.search.interface import StepModel
from nmt.search.slots import (
    History,
    Limits,
    Slots,
    keep_history,
    keep_slots,
    open_history,
    open_slots,
    record,
    walk_back,
)
from nmt.text.special_ids import BOS, EOS, PAD, UNK


class Finished(NamedTuple):
    """The n best hypotheses of R slots: complete ones by falling score, then those that were cut by the limit."""

    tokens: Tensor
    """(R, n, L) int64: pieces, EOS included where complete"""
    log_probs: Tensor
    """(R, n, L) float32: of each piece"""
    attention: Tensor
    """(R, n, L, S) float32: where the model looked before each piece"""
    lengths: Tensor
    """(R, n) int64: pieces, EOS included where complete; what stands behind them is arbitrary"""
    scores: Tensor
    """(R, n) float32: normalised scores; -inf where there is no such hypothesis"""
    complete: Tensor
    """(R, n) bool: whether it ends with EOS"""


class Step(NamedTuple):
    """The K best continuations of each slot that go on, best first, and what ending instead would give."""

    parents: Tensor
    """(B, K) int64: the hypothesis that goes on"""
    tokens: Tensor
    """(B, K) int64: the piece it adds"""
    log_probs: Tensor
    """(B, K) float32: of that piece"""
    scores: Tensor
    """(B, K) float32: log-probability of the whole; -inf where there is none"""
    eos: Tensor
    """(B, K) float32: log-probability of EOS behind each *present* hypothesis"""


class BeamSearch(nn.Module):
    """Steps of a beam search around `model`, made of tensor operations alone (scriptable; works on any device)."""

    SCRIPTED: ClassVar[tuple[str, ...]] = ("open", "advance", "finish", "score")
    """the methods, beside `forward`, that an exported search must have"""

    # TorchScript sees no globals.
    pad: Final[int] = PAD
    unk: Final[int] = UNK
    bos: Final[int] = BOS
    eos: Final[int] = EOS

    def __init__(self, model: StepModel) -> None:
        super().__init__()
        self.model = model

    def open(self, src: Tensor, lengths: Tensor, limits: Limits, beam: int) -> Slots:
        """Encode `src` (B, S), of which `lengths` (B,) pieces are real: a slot of `beam` rows for each sentence."""
        memory, state = self.model.encode(src, lengths)
        return open_slots(memory, state, limits, beam, self.bos)

    def advance(self, slots: Slots, history: History, guard: bool) -> Tensor:
        """One step of all slots, in place; returns (B,) bool, which of them are done and must not be advanced again.

        `guard` says whether any slot has the repetition guard on (`limits.ngram`).
        """
        state = [s.flatten(0, 1) for s in slots.state]
        logits, state, attention = self.model.step(slots.tokens.flatten(), state, slots.memory)
        step = self._extend(logits, slots, history, guard)
        ended, pool = self._end(step, slots)
        attention = attention.view(slots.tokens.size(0), slots.tokens.size(1), -1)
        record(history, slots.time, step.parents, step.tokens, step.log_probs, ended, step.eos, attention)
        for i in range(len(state)):
            slots.state[i].copy_(reorder(state[i], step.parents))
        slots.tokens.copy_(step.tokens)
        slots.scores.copy_(step.scores)
        slots.pool.copy_(pool)
        slots.time.add_(1)
        return is_done(slots)

    def _extend(self, logits: Tensor, slots: Slots, history: History, guard: bool) -> Step:
        """The best continuations under `logits` (N, V), in float32 whatever their type."""
        shape = [slots.scores.size(0), slots.scores.size(1), logits.size(1)]
        log_probs = torch.log_softmax(logits, dim=1, dtype=torch.float32)
        eos = log_probs[:, self.eos].view(shape[:2]).clone()
        log_probs = self._constrain(log_probs, slots, history, guard)
        scores, index = best_continuations(slots.scores, log_probs.view(shape))
        return Step(
            index // shape[2],
            index % shape[2],
            log_probs.view(shape[0], -1).gather(1, index),
            scores,
            eos,
        )

    def _constrain(self, log_probs: Tensor, slots: Slots, history: History, guard: bool) -> Tensor:
        """`log_probs` (N, V) with -inf, in place, for the pieces that a hypothesis must not go on with."""
        beam, never = slots.scores.size(1), float("-inf")
        forced = self._forced(slots).repeat_interleave(beam, 0)
        kept = log_probs.gather(1, forced)
        unknown = log_probs[:, self.unk].masked_fill(~slots.limits.unknown.repeat_interleave(beam), never)
        log_probs[:, : self.eos + 1] = never  # PAD, BOS; and EOS, for ending is not going on: see _end
        log_probs[:, self.unk] = unknown
        if guard:
            log_probs.scatter_(1, self._repeating(slots, history).flatten(0, 1), never)
        if forced.size(1) > 0:
            free = forced == self.pad
            log_probs.masked_fill_(~free, never).scatter_(1, forced, kept.masked_fill(free, never))
        return log_probs

    def _forced(self, slots: Slots) -> Tensor:
        """The next piece (B, 1) of each prefix, PAD where nothing is forced; (B, 0) where no slot has a prefix."""
        prefix, time = slots.limits.prefix, slots.time.unsqueeze(1)
        if prefix.size(1) == 0:
            return prefix
        last = prefix.size(1) - 1
        return prefix.gather(1, time.clamp(max=last)).masked_fill(time > last, self.pad)

    def _repeating(self, slots: Slots, history: History) -> Tensor:
        """The pieces (B, K, T) that would complete an n-gram which a hypothesis has said already; PAD stands for none.

        With n = `limits.ngram`, piece j is one if the n - 1 pieces before it are the last n - 1 of the hypothesis.
        """
        length, n = int(slots.time.max()), slots.limits.ngram.view(-1, 1, 1)
        row = torch.arange(slots.scores.size(1), device=n.device).expand_as(slots.tokens)
        time = slots.time.unsqueeze(1).expand_as(row)
        path = walk_back(history.parents[:, :length], row, time)
        said = history.tokens[:, :length].transpose(1, 2).gather(1, path[:, :, 1:])
        position, time = torch.arange(length, device=n.device), time.unsqueeze(2)
        match = (n > 0) & (position >= n - 1) & (position < time)
        for back in range(1, int(slots.limits.ngram.max()) if length > 0 else 0):
            last = said.gather(2, (time - back).clamp(min=0))
            # What roll wraps round is before position n - 1, and excluded.
            match = match & ((said.roll(back, 2) == last) | (back >= n))
        return said.masked_fill(~match, self.pad)

    def _end(self, step: Step, slots: Slots) -> tuple[Tensor, Tensor]:
        """What ends here: normalised scores (B, K), -inf where a hypothesis does not; and the pool (B, K) with them.

        An ending counts when it is among the K best of all continuations.
        """
        limits, beam = slots.limits, slots.scores.size(1)
        length = slots.time + 1
        early = length < limits.min_length
        if limits.prefix.size(1) > 0:
            early = early | (length <= (limits.prefix != self.pad).sum(1))
        endings = (slots.scores + step.eos).masked_fill(early.unsqueeze(1), float("-inf"))
        kth_best = torch.cat([step.scores, endings], dim=1).topk(beam, dim=1)[0][:, -1:]
        normalised = endings / length_penalty(length, limits.length_penalty).unsqueeze(1)
        ended = normalised.masked_fill(endings < kth_best, float("-inf"))
        return ended, torch.cat([slots.pool, ended], dim=1).topk(beam, dim=1)[0]

    def finish(self, slots: Slots, history: History, rows: Tensor, n_best: int) -> Finished:
        """The `n_best` best hypotheses of the slots `rows` (R,), which are done."""
        scores, alpha = slots.scores[rows], slots.limits.length_penalty[rows]
        time = slots.time[rows].unsqueeze(1)
        beam, length = scores.size(1), int(time.max())
        history = keep_history(history, rows, length)
        position = torch.arange(length, device=rows.device)
        rank = torch.arange(n_best, device=rows.device).unsqueeze(0)

        ended = history.ended.masked_fill((position >= time).unsqueeze(2), float("-inf")).flatten(1)
        best, index = ended.topk(n_best, dim=1)
        complete = best > float("-inf")
        # Behind the complete hypotheses come the live ones, best first, all of one length.
        live = (rank - complete.sum(1, keepdim=True)).clamp(min=0)
        cut = scores.gather(1, live) / length_penalty(time, alpha.unsqueeze(1))
        said = torch.where(complete, index // beam, time)  # pieces, EOS apart
        path = walk_back(history.parents, torch.where(complete, index % beam, live), said)

        before, after = path[:, :, :-1], path[:, :, 1:]
        at_eos = position >= said.unsqueeze(2)
        tokens = history.tokens.transpose(1, 2).gather(1, after)
        log_probs = history.log_probs.transpose(1, 2).gather(1, after)
        eos = history.eos.transpose(1, 2).gather(1, before)
        slot = torch.arange(rows.size(0), device=rows.device).view(-1, 1, 1)
        return Finished(
            tokens.masked_fill(at_eos, self.eos),
            torch.where(at_eos, eos, log_probs),
            history.attention[slot, position, before],
            said + complete.long(),
            torch.where(complete, best, cut),
            complete,
        )

    def score(self, src: Tensor, lengths: Tensor, tgt: Tensor) -> Tensor:
        """The log-probability (B, T) float32 of each piece of `tgt` (B, T): y1..yn EOS; PAD behind it scores 0."""
        memory, state = self.model.encode(src, lengths)
        tokens = torch.full_like(tgt[:, 0], self.bos)
        log_probs: list[Tensor] = []
        for t in range(tgt.size(1)):
            logits, state, _ = self.model.step(tokens, state, memory)
            tokens = tgt[:, t]
            log_prob = torch.log_softmax(logits, dim=1, dtype=torch.float32).gather(1, tokens.unsqueeze(1))
            log_probs.append(log_prob.squeeze(1).masked_fill(tokens == self.pad, 0.0))
        return torch.stack(log_probs, dim=1)

    def forward(
        self, src: Tensor, lengths: Tensor, beam: int = 5, max_length: int = 100, alpha: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Decode one padded batch: the best hypotheses (B, max_length), padded with PAD, and their scores (B,).

        For callers without the engine (C++) and for tests: sentences leave when they are done, but none joins.
        """
        slots = self.open(src, lengths, plain_limits(lengths, max_length, alpha), beam)
        history = open_history(slots, src.size(0), max_length, src.size(1))
        left = torch.arange(src.size(0), device=src.device)
        tokens = torch.full([src.size(0), max_length], self.pad, dtype=torch.int64, device=src.device)
        scores = torch.zeros(src.size(0), device=src.device)
        while left.size(0) > 0:
            done = self.advance(slots, history, False)
            if bool(done.any()):
                rows = done.nonzero().squeeze(1)
                best = self.finish(slots, history, rows, 1)
                behind = torch.arange(best.tokens.size(2), device=src.device) >= best.lengths
                tokens[left[rows], : best.tokens.size(2)] = best.tokens[:, 0].masked_fill(behind, self.pad)
                scores[left[rows]] = best.scores[:, 0]
                rows = (~done).nonzero().squeeze(1)
                slots, history, left = keep_slots(slots, rows), keep_history(history, rows, max_length), left[rows]
        return tokens, scores


def best_continuations(scores: Tensor, log_probs: Tensor, depth: int = 40) -> tuple[Tensor, Tensor]:
    """The K highest `scores` (B, K) + `log_probs` (B, K, V) of each slot: the sums and indices k * V + v, each (B, K).

    The exact top K without a sort that is as wide as the vocabulary: V is dealt out into columns of `depth` pieces; the
    K best continuations lie in the K columns with the highest maxima, so only these are looked at one by one. On one
    core 2.4 times as fast as `topk` on each row and a separate log-sum-exp (64 * 5 rows, V = 8000).
    """
    beam, vocabulary = log_probs.size(1), log_probs.size(2)
    columns = (vocabulary + depth - 1) // depth
    even = vocabulary // columns * columns
    maxima = log_probs[:, :, :even].unflatten(2, [-1, columns]).amax(2)
    if even < vocabulary:
        rest = log_probs[:, :, even:]
        maxima[:, :, : vocabulary - even].copy_(torch.maximum(maxima[:, :, : vocabulary - even], rest))
    best = (scores.unsqueeze(2) + maxima).flatten(1).topk(beam, dim=1, sorted=False)[1]  # (B, K)
    row, column = best // columns, best % columns
    piece = column.unsqueeze(2) + torch.arange(0, vocabulary, columns, device=best.device)  # (B, K, depth)
    index = (row.unsqueeze(2) * vocabulary + piece.clamp(max=vocabulary - 1)).flatten(1)
    sums = log_probs.flatten(1).gather(1, index).view(piece.shape) + scores.gather(1, row).unsqueeze(2)
    sums = sums.masked_fill(piece >= vocabulary, float("-inf")).flatten(1)  # the last columns may be shorter by one
    highest, at = sums.topk(beam, dim=1)
    return highest, index.gather(1, at)


def length_penalty(length: Tensor, alpha: Tensor) -> Tensor:
    """lp = ((5 + length) / 6)^alpha, where length counts EOS (Wu et al. 2016, eq. 14); tensors of one shape."""
    return ((length + 5) / 6.0).pow(alpha)


def is_done(slots: Slots) -> Tensor:
    """Which slots (B,) have nothing more to find; the three conditions are in the module's docstring."""
    limits, alpha, best = slots.limits, slots.limits.length_penalty, slots.scores[:, 0]
    wanted = slots.pool.gather(1, limits.n_best.unsqueeze(1) - 1).squeeze(1)
    full = slots.pool[:, -1] > float("-inf")
    settled = full & (best / length_penalty(slots.time, alpha) <= wanted)
    bounded = best / length_penalty(limits.max_length, alpha) <= wanted
    return settled | bounded | (slots.time >= limits.max_length)


def reorder(state: Tensor, parents: Tensor) -> Tensor:
    """Give each hypothesis the state of its parent: `state` (N, ·) by `parents` (B, K), as (B, K, ·)."""
    sentences, beam = parents.size(0), parents.size(1)
    if beam > 1:
        first = torch.arange(sentences, device=parents.device).unsqueeze(1) * beam
        state = state.index_select(0, (parents + first).flatten())
    return state.view(sentences, beam, -1)


def plain_limits(lengths: Tensor, max_length: int, alpha: float) -> Limits:
    """The same limits for each sentence of `lengths` (B,): the best hypothesis, without constraints."""
    zero = torch.zeros_like(lengths)
    return Limits(
        zero + max_length,
        zero,
        torch.full_like(lengths, alpha, dtype=torch.float32),
        zero + 1,
        zero,
        torch.ones_like(lengths, dtype=torch.bool),
        zero.new_zeros(zero.size(0), 0),
    )
