"""Continuous batching: requests join and leave the running batch at any step, so none waits for another to finish.

In the way of the data: translator -> **engine** -> search -> engine -> translator. All searches are run by it:

    engine.add(request)                          any number, at any time
    while engine.step():                         generate one piece for each active sentence
        for result in engine.finished(): ...     one result for each request that is not cancelled

Translation of whole texts calls `run`, which is this loop; the service steps an engine in a thread of its own. The
method is "cellular batching" (Gao et al., EuroSys 2018). An engine belongs to one thread, as there are no locks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import islice
from typing import Any

import torch

from nmt.errors import SearchError
from nmt.search.request import Hypothesis, Request, Result, SearchOptions
from nmt.search.running_batch import RunningBatch

__all__ = ["Engine", "Hypothesis", "Request", "Result", "SearchOptions"]


class Engine:
    """Searches many requests together, each with the result that it would have alone."""

    def __init__(
        self,
        search: Any,
        *,
        slots: int = 64,
        encode_tokens: int = 4096,
        device: torch.device | str = "cpu",
    ) -> None:
        """Run `search`, a `BeamSearch` in evaluation mode, eager or exported, on `device`.

        `slots` is the number of sentences that are decoded together, for each beam size. `encode_tokens` is the maximum
        number of source pieces, padding included, that are encoded between two steps, so that many new requests do not
        hold up the running ones. Raises `SearchError` if either is below 1.
        """
        for name, value in (("slots", slots), ("encode_tokens", encode_tokens)):
            if value < 1:
                raise SearchError(f"{name} is {value}: it must be at least 1")
        self._search = search
        self._slots = slots
        self._encode_tokens = encode_tokens
        self._device = torch.device(device)
        # By beam size, because all slots of a batch have the same number of rows.
        self._queues: dict[int, deque[Request]] = {}
        self._batches: dict[int, RunningBatch] = {}
        self._keys: set[Hashable] = set()
        self._finished: list[Result] = []

    @property
    def active(self) -> int:
        """Number of requests that are being decoded."""
        return sum(len(batch.active) for batch in self._batches.values())

    @property
    def waiting(self) -> int:
        """Number of requests that have no slot yet."""
        return sum(map(len, self._queues.values()))

    def add(self, request: Request) -> None:
        """Queue a request; raises `SearchError` if an unfinished one in the engine has the same key."""
        if request.key in self._keys:
            raise SearchError(f"request {request.key!r} is in the engine already: give each request its own key")
        self._keys.add(request.key)
        self._queues.setdefault(request.options.beam, deque()).append(request)

    def cancel(self, *keys: Hashable) -> int:
        """Drop unfinished requests: they get no result, and their slots are free at once. Return how many there were.

        Keys of no unfinished request are ignored.
        """
        cancelled = self._keys.intersection(keys)
        if cancelled:
            self._keys -= cancelled
            for beam, queue in self._queues.items():
                self._queues[beam] = deque(request for request in queue if request.key not in cancelled)
            for batch in self._batches.values():
                batch.drop([i for i, request in enumerate(batch.active) if request.key in cancelled])
            self._discard_empty()
        return len(cancelled)

    @torch.inference_mode()
    def step(self) -> int:
        """Admit waiting requests, then generate one piece in each slot; return the number of unfinished requests.

        An exception that the model raises becomes the result of the requests concerned. The engine remains usable.
        """
        for beam in list(self._queues):
            batch = self._batches.setdefault(beam, RunningBatch(self._search, beam, self._device))
            self._admit(batch, self._choose(beam, len(batch.active)))
            if batch.active:
                self._advance(batch)
        self._discard_empty()
        return len(self._keys)

    def finished(self) -> list[Result]:
        """Return the results since the last call."""
        results, self._finished = self._finished, []
        return results

    def run(self, requests: Iterable[Request], progress: Callable[[int], object] | None = None) -> list[Result]:
        """Search all `requests` and return their results in the same order.

        `progress` is called with the number of them that finished since its last call. Requests that were added before
        are decoded too; their results are left for `finished`. If interrupted, `run` cancels its own requests.
        """
        requests = list(requests)
        results: dict[Hashable, Result] = {}
        others = self.finished()  # taken out first: one of them may have a key that is used again here
        added: set[Hashable] = set()
        try:
            # Longest first: sources of similar length are encoded and decoded together, with little padding, and at the
            # end, when slots become empty, the sentences still running are short ones.
            for request in sorted(requests, key=lambda request: -len(request.src)):
                self.add(request)
                added.add(request.key)
            while len(results) < len(requests):
                self.step()
                finished = self.finished()
                own = {result.key: result for result in finished if result.key in added}
                others += [result for result in finished if result.key not in added]
                results |= own
                if progress is not None and own:
                    progress(len(own))
        finally:
            self.cancel(*(added - results.keys()))
            self._finished = others + self._finished
        return [results[request.key] for request in requests]

    def _choose(self, beam: int, active: int) -> list[Request]:
        """Take from the queue the requests that join the batch now: the oldest, and those closest to it in length."""
        queue, free = self._queues[beam], self._slots - active
        # While more requests wait than there are free slots, they join in groups of at least a quarter of the slots:
        # the encoder runs once over a group, and the step waits for it. A queue that fits joins at once.
        if free < min(len(queue), max(1, self._slots // 4)) or not queue:
            return []
        size = len(queue[0].src)
        # The `free` oldest are all that could join, and the oldest always does, so no request is overtaken for ever.
        window = list(islice(queue, free))
        chosen: list[Request] = []
        longest = 0
        # Similar lengths encode with little padding. The sort is stable, so the oldest comes first. It joins even if it
        # exceeds encode_tokens by itself.
        for request in sorted(window, key=lambda request: abs(len(request.src) - size)):
            longest = max(longest, len(request.src))
            if chosen and longest * (len(chosen) + 1) > self._encode_tokens:
                break
            chosen.append(request)
        # Put those of the window that were not chosen back at the front of the queue, in their order.
        keys = {request.key for request in chosen}
        for _ in window:
            queue.popleft()
        queue.extendleft(request for request in reversed(window) if request.key not in keys)
        return chosen

    def _admit(self, batch: RunningBatch, requests: Sequence[Request]) -> None:
        if not requests:
            return
        try:
            batch.admit(requests)
        except Exception as error:
            if len(requests) == 1:
                self._end([Result(requests[0].key, error=error)])
                return
            for request in requests:  # one by one, so that only those that cannot be encoded fail
                self._admit(batch, [request])

    def _advance(self, batch: RunningBatch) -> None:
        try:
            results = batch.advance()
        except Exception as error:  # the slots may be half written, so no sentence of this batch can continue
            results = [Result(request.key, error=error) for request in batch.active]
            batch.active.clear()
        self._end(results)

    def _end(self, results: Sequence[Result]) -> None:
        """Hand out `results`; their keys may be used again."""
        self._keys.difference_update(result.key for result in results)
        self._finished += results

    def _discard_empty(self) -> None:
        """Free the buffers of batches without sentences; a single long sentence may have made them large."""
        self._batches = {beam: batch for beam, batch in self._batches.items() if batch.active}
        self._queues = {beam: queue for beam, queue in self._queues.items() if queue or beam in self._batches}
