"""The running batch: the sentences that are being decoded with one beam size, in one set of tensors.

In the way of the data: engine -> **running batch** -> search. The n active sentences are slots 0..n-1 of buffers with
spare room. The last active sentence fills a freed slot; new ones are appended. So every step works on views of the
first n slots, without copying.
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
from nmt.search.padding import pad_ids
from nmt.search.request import Hypothesis, Request, Result
from nmt.search.slots import History, SlotLimits, Slots, open_history

_WIDTH_ROUND = 8
"""a step sees so many times as wide a memory: oneDNN keeps some memory for each shape of a bfloat16 product for ever"""
_ROUND = 16  # buffers grow to multiples of it, or by at most so many spare slots, so that they are seldom copied


class Search(Protocol):
    """A `BeamSearch`, eager or exported. Exported files may be older than this code, so the signatures are fixed."""

    def open(self, src: Tensor, lengths: Tensor, limits: SlotLimits, beam: int) -> Slots:
        """See `BeamSearch.open`."""

    def advance(self, slots: Slots, history: History, block_repeats: bool) -> Tensor:
        """See `BeamSearch.advance`."""

    def finish(self, slots: Slots, history: History, rows: Tensor, n_best: int) -> Finished:
        """See `BeamSearch.finish`."""


class RunningBatch:
    """The sentences that are being decoded, each with `beam` hypotheses."""

    def __init__(self, search: Search, beam: int, device: torch.device) -> None:
        self.search = search
        self.beam = beam
        self.device = device
        self.active: list[Request] = []
        """the request in each slot"""
        self._slots: Slots
        self._history: History

    def admit(self, requests: Sequence[Request]) -> None:
        """Encode `requests` and add them to the batch. If this raises, the sentences already active are unharmed."""
        src, lengths = pad_ids([request.src for request in requests], self.device)
        slots = self.search.open(src, lengths, slot_limits(requests, self.device), self.beam)
        set_stop_at(slots, requests)
        longest = max(request.max_length for request in requests)
        history = open_history(slots, len(requests), longest, src.size(1))
        if self.active:  # else there are no buffers yet, and the new tensors become them
            count = len(self.active)
            slots = bundle_map(partial(append, count), self._slots, slots)
            history = bundle_map(partial(append, count), self._history, history)
        # Assigned only now: a failed append has written to spare slots at most, and to no active one.
        self._slots, self._history = slots, history
        self.active += requests
        self._update_views()

    def advance(self) -> list[Result]:
        """Decode one step of all sentences. Those that are done leave the batch; returns their results."""
        done = self.search.advance(*self._views, self._block_repeats)
        rows = [i for i, is_done in enumerate(done.tolist()) if is_done]  # here the host waits for the device
        if not rows:
            return []
        requests = [self.active[i] for i in rows]
        n_best = max(request.options.n_best for request in requests)
        finished = self.search.finish(*self._views, torch.tensor(rows, device=self.device), n_best)
        results = read_results(finished, requests)
        self.drop(rows)
        return results

    @torch.inference_mode()  # inference tensors, as the buffers are, can be written to in this mode only
    def drop(self, slots: Sequence[int]) -> None:
        """Free `slots`, given in ascending order; the last active sentences move into the gaps."""
        if not slots:
            return
        dropped = set(slots)
        left = len(self.active) - len(dropped)
        # The sentences that stay have to occupy slots 0..left-1. So the slots freed below `left` are gaps, and the
        # sentences at `left` and above that stay move: as many as there are gaps.
        gaps = [i for i in slots if i < left]
        movers = [i for i in range(left, len(self.active)) if i not in dropped]
        if gaps:
            rows = torch.tensor([gaps, movers], device=self.device)  # one transfer to the device, not two
            move = partial(move_rows, rows[0], rows[1])
            bundle_map(move, self._slots)
            bundle_map(move, self._history)
        for gap, mover in zip(gaps, movers, strict=True):
            self.active[gap] = self.active[mover]
        # The buffers stay as they are: what is above `left` is outside the views, and overwritten by `append`.
        del self.active[left:]
        self._update_views()

    def _update_views(self) -> None:
        """Make the views that a step works on: the active slots, and the memory as wide as the longest active source.

        The history is not narrowed: a step writes single entries of it, so its spare width costs little.
        """
        count = len(self.active)
        width = max((len(request.src) for request in self.active), default=0)
        width = math.ceil(width / _WIDTH_ROUND) * _WIDTH_ROUND  # a buffer may be narrower; then its own width counts
        slots: Slots = bundle_map(lambda buffer: buffer[:count], self._slots)
        slots = slots._replace(memory=bundle_map(lambda buffer: buffer[:, :width], slots.memory))
        history: History = bundle_map(lambda buffer: buffer[:count], self._history)
        self._views = slots, history
        # A Python bool, so reading it in every step never synchronises with the GPU.
        self._block_repeats = any(request.options.no_repeat_ngram for request in self.active)


def slot_limits(requests: Sequence[Request], device: torch.device) -> SlotLimits:
    """Return the options of `requests` as tensors, a slot for each request."""
    options = [request.options for request in requests]
    return SlotLimits(
        torch.tensor([request.max_length for request in requests], device=device),
        torch.tensor([o.min_length for o in options], device=device),
        torch.tensor([o.length_penalty for o in options], dtype=torch.float32, device=device),
        torch.tensor([o.n_best for o in options], device=device),
        torch.tensor([o.no_repeat_ngram for o in options], device=device),
        torch.tensor([o.allow_unknown for o in options], device=device),
        pad_ids([request.prefix for request in requests], device)[0],
    )


def set_stop_at(slots: Slots, requests: Sequence[Request]) -> None:
    """Write the option `stop_at` into the slots of `requests`; raises `SearchError` if a file's have no such field."""
    stop_at = [request.options.stop_at for request in requests]
    if any(stop_at):
        if not hasattr(slots, "stop_at"):
            raise SearchError("this model file is too old for the option stop_at; export the model again")
        slots.stop_at.copy_(torch.tensor(stop_at))


def bundle_map(function: Callable[..., Tensor], *bundles: Any) -> Any:
    """Apply `function` to corresponding tensors of bundles that are built alike, and return a bundle of the outputs.

    A bundle is a tensor, or a list or NamedTuple of bundles.
    """
    first = bundles[0]
    if isinstance(first, Tensor):
        return function(*bundles)
    parts = [bundle_map(function, *part) for part in zip(*bundles, strict=True)]
    return parts if isinstance(first, list) else type(first)(*parts)


def move_rows(targets: Tensor, sources: Tensor, buffer: Tensor) -> Tensor:
    """Overwrite the rows `targets` (R,) of `buffer` with its rows `sources` (R,)."""
    return buffer.index_copy_(0, targets, buffer.index_select(0, sources))


def append(count: int, buffer: Tensor, new: Tensor) -> Tensor:
    """Write the rows `new` after the first `count` of `buffer`: in place if there is room, else in a larger copy.

    Dimensions other than the rows may be smaller in `new`. They are filled up with 0, which is right for every tensor
    of a slot: masked out, no prefix (PAD), and finite memory.
    """
    need = [count + new.size(0), *new.shape[1:]]
    if any(n > have for n, have in zip(need, buffer.shape, strict=True)):
        # Rows double while there are few, then grow by at most _ROUND spare ones: memory and history are large.
        # Widths (source, prefix, history) only ever grow, in multiples of _ROUND.
        rows = max(need[0], min(2 * buffer.size(0), need[0] + _ROUND)) if need[0] > buffer.size(0) else buffer.size(0)
        widths = [h if n <= h else math.ceil(n / _ROUND) * _ROUND for n, h in zip(need, buffer.shape, strict=True)]
        larger = buffer.new_zeros([rows, *widths[1:]])
        larger[tuple(slice(size) for size in [count, *buffer.shape[1:]])] = buffer[:count]
        buffer = larger
    appended = buffer[count : need[0]]
    if appended.shape != new.shape:
        # A sentence that has left may have been longer: its values beyond the width of `new` must not remain.
        appended.zero_()
    appended[tuple(slice(size) for size in new.shape)] = new
    return buffer


def read_results(finished: Finished, requests: Sequence[Request]) -> list[Result]:
    """Return the results of R finished requests from the tensors of `BeamSearch.finish`, copied to the CPU."""
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
    """Return the result of one request; the arguments are its rows of `Finished`."""
    hypotheses = [
        Hypothesis(
            ids=tokens[i][: lengths[i] - complete[i]],
            score=scores[i],
            log_prob=math.fsum(log_probs[i][: lengths[i]]),
            token_log_probs=log_probs[i][: lengths[i]],
            attention=attention[i, : lengths[i], : len(request.src)].clone(),  # a view would keep the whole batch alive
            complete=complete[i],
        )
        for i in range(request.options.n_best)  # the tensors have room for the largest n_best of the R requests
        if scores[i] > -math.inf or math.isnan(scores[i])  # NaN is kept here, to be reported below
    ]
    if not hypotheses:
        return Result(
            request.key, error=SearchError("no hypothesis meets the limits; relax min_length or no_repeat_ngram")
        )
    if not all(math.isfinite(hypothesis.score) for hypothesis in hypotheses):
        return Result(
            request.key,
            error=SearchError("the model computed a probability that is not a number; try a model file in float32"),
        )
    return Result(request.key, hypotheses)
