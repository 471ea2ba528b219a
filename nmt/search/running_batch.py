"""A lane: the sentences that are being decoded with one beam size, side by side in one set of tensors.

In the way of the data: engine -> **lane** -> search. The active sentences are always slots 0..n-1 of buffers with room
for more: who leaves is replaced by the last one, who joins comes behind it, and a step works on views of the first n.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from nmt.errors import SearchError
from nmt.search.beam import Finished
from nmt.search.request import Hypothesis, Request, Result
from nmt.search.slots import History, Limits, Slots, open_history
from nmt.text.special_ids import PAD

_ROUND = 16  # widths grow in such steps, so that they grow seldom


class Search(Protocol):
    """A `BeamSearch`, eager or exported."""

    def open(self, src: Tensor, lengths: Tensor, limits: Limits, beam: int) -> Slots:
        """See `BeamSearch.open`."""

    def advance(self, slots: Slots, history: History, guard: bool) -> Tensor:
        """See `BeamSearch.advance`."""

    def finish(self, slots: Slots, history: History, rows: Tensor, n_best: int) -> Finished:
        """See `BeamSearch.finish`."""


class Lane:
    """Sentences in the middle of their search, all with `beam` hypotheses."""

    def __init__(self, search: Search, beam: int, device: torch.device) -> None:
        self.search = search
        self.beam = beam
        self.device = device
        self.active: list[Request] = []
        """the request in each slot"""
        self._slots: Slots
        self._history: History

    def admit(self, requests: Sequence[Request]) -> None:
        """Encode `requests` and let them join. Whatever it raises, those already active are unharmed."""
        src, lengths = pad_sources(requests, self.device)
        fresh = self.search.open(src, lengths, limits_of(requests, self.device), self.beam)
        longest = max(request.max_length for request in requests)
        history = open_history(fresh, len(requests), longest, src.size(1))
        if self.active:
            count = len(self.active)
            fresh = bundle_map(partial(append, count), self._slots, fresh)
            history = bundle_map(partial(append, count), self._history, history)
        self._slots, self._history = fresh, history
        self.active += requests
        self._look()

    def advance(self) -> list[Result]:
        """One step of all sentences; returns the results of those that are done, and drops them."""
        done = self.search.advance(*self._view, self._guard)
        ended = [i for i, is_done in enumerate(done.tolist()) if is_done]  # here the host waits for the device
        if not ended:
            return []
        requests = [self.active[i] for i in ended]
        n_best = max(request.options.n_best for request in requests)
        finished = self.search.finish(*self._view, torch.tensor(ended, device=self.device), n_best)
        results = read_results(finished, requests)
        self.drop(ended)
        return results

    @torch.inference_mode()  # the buffers were made in it
    def drop(self, slots: Sequence[int]) -> None:
        """Free `slots`, given in rising order; the last active sentences fill the holes."""
        if not slots:
            return
        gone = set(slots)
        left = len(self.active) - len(gone)
        holes = [i for i in slots if i < left]
        movers = [i for i in range(left, len(self.active)) if i not in gone]
        if holes:
            rows = torch.tensor([holes, movers], device=self.device)
            move = partial(move_rows, rows[0], rows[1])
            bundle_map(move, self._slots)
            bundle_map(move, self._history)
        for hole, mover in zip(holes, movers, strict=True):
            self.active[hole] = self.active[mover]
        del self.active[left:]
        self._look()

    def _look(self) -> None:
        """Make the views that a step works on: the active slots, and no more of the memory than the longest source."""
        count = len(self.active)
        width = max((len(request.src) for request in self.active), default=0)
        slots: Slots = bundle_map(lambda buffer: buffer[:count], self._slots)
        slots = slots._replace(memory=bundle_map(lambda buffer: buffer[:, :width], slots.memory))
        history: History = bundle_map(lambda buffer: buffer[:count], self._history)
        self._view = slots, history
        self._guard = any(request.options.no_repeat_ngram for request in self.active)


def pad_sources(requests: Sequence[Request], device: torch.device) -> tuple[Tensor, Tensor]:
    """The sources (B, S) int64, padded, and their lengths (B,)."""
    lengths = [len(request.src) for request in requests]
    longest = max(lengths)
    src = [[*request.src, *[PAD] * (longest - len(request.src))] for request in requests]
    return torch.tensor(src, device=device), torch.tensor(lengths, device=device)


def limits_of(requests: Sequence[Request], device: torch.device) -> Limits:
    """The options of `requests` as tensors."""
    options = [request.options for request in requests]
    longest = max(len(request.prefix) for request in requests)
    prefix = [[*request.prefix, *[PAD] * (longest - len(request.prefix))] for request in requests]
    return Limits(
        torch.tensor([request.max_length for request in requests], device=device),
        torch.tensor([o.min_length for o in options], device=device),
        torch.tensor([o.length_penalty for o in options], dtype=torch.float32, device=device),
        torch.tensor([o.n_best for o in options], device=device),
        torch.tensor([o.no_repeat_ngram for o in options], device=device),
        torch.tensor([o.allow_unknown for o in options], device=device),
        torch.tensor(prefix, dtype=torch.int64, device=device),
    )


def bundle_map(function: Callable[..., Tensor], *bundles: Any) -> Any:
    """Apply `function` to the tensors of like bundles (tensors, lists or NamedTuples of bundles), as a bundle."""
    first = bundles[0]
    if isinstance(first, Tensor):
        return function(*bundles)
    parts = [bundle_map(function, *part) for part in zip(*bundles, strict=True)]
    return parts if isinstance(first, list) else type(first)(*parts)


def move_rows(targets: Tensor, sources: Tensor, buffer: Tensor) -> Tensor:
    """Copy the rows `sources` (R,) of `buffer` over the rows `targets` (R,)."""
    return buffer.index_copy_(0, targets, buffer.index_select(0, sources))


def append(count: int, buffer: Tensor, new: Tensor) -> Tensor:
    """Write the rows `new` behind the first `count` of `buffer`: in place if there is room, else in a larger copy.

    All but the rows may be narrower in `new`; what is missing becomes 0: no mask, no prefix, finite memory.
    """
    need = [count + new.size(0), *new.shape[1:]]
    if any(n > have for n, have in zip(need, buffer.shape, strict=True)):
        rows = max(need[0], min(2 * buffer.size(0), need[0] + _ROUND)) if need[0] > buffer.size(0) else buffer.size(0)
        widths = [h if n <= h else math.ceil(n / _ROUND) * _ROUND for n, h in zip(need, buffer.shape, strict=True)]
        larger = buffer.new_zeros([rows, *widths[1:]])
        larger[tuple(slice(size) for size in [count, *buffer.shape[1:]])] = buffer[:count]
        buffer = larger
    rows_view = buffer[count : need[0]]
    if rows_view.shape != new.shape:
        rows_view.zero_()
    rows_view[tuple(slice(size) for size in new.shape)] = new
    return buffer


def read_results(finished: Finished, requests: Sequence[Request]) -> list[Result]:
    """The results of done requests, from the tensors of `BeamSearch.finish`."""
    attention = finished.attention.cpu()
    fields = (finished.tokens, finished.log_probs, finished.lengths, finished.scores, finished.complete)
    rows = zip(*(field.tolist() for field in fields), attention, requests, strict=True)
    return [_read(*row) for row in rows]


def _read(
    tokens: list[list[int]],
    log_probs: list[list[float]],
    lengths: list[int],
    scores: list[float],
    complete: list[bool],
    attention: Tensor,
    request: Request,
) -> Result:
    hypotheses = [
        Hypothesis(
            ids=tokens[i][: lengths[i] - complete[i]],
            score=scores[i],
            log_prob=math.fsum(log_probs[i][: lengths[i]]),
            token_log_probs=log_probs[i][: lengths[i]],
            attention=attention[i, : lengths[i], : len(request.src)].clone(),  # not a view that keeps all others alive
            complete=complete[i],
        )
        for i in range(request.options.n_best)
        if scores[i] > -math.inf or math.isnan(scores[i])
    ]
    if not hypotheses:
        return Result(
            request.key, error=SearchError("no hypothesis meets the limits; relax min_length or no_repeat_ngram")
        )
    if not all(math.isfinite(hypothesis.score) for hypothesis in hypotheses):
        return Result(request.key, error=SearchError("the model gave a probability that is no number"))
    return Result(request.key, hypotheses)
