"""Continuous batching: sentences enter and leave the running search at any step, so that no slot waits for another.

In the way of the data: translator -> **engine** -> search -> engine -> translator. The only driver of the search:

    engine.add(request)                          any number, at any time
    while engine.step():                         one piece of every active sentence
        for result in engine.finished(): ...     each request ends in exactly one result, or in `cancel`

Bulk translation runs it in a loop (`run`), the service from one thread of its own ("cellular batching", Gao et al.,
EuroSys 2018). An engine belongs to one thread: nothing here locks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import islice
from typing import Any

import torch

from nmt.errors import SearchError
from nmt.search.request import Hypothesis, Request, Result, SearchOptions
from nmt.search.running import Lane

__all__ = ["Engine", "Hypothesis", "Request", "Result", "SearchOptions"]


class Engine:
    """Searches many requests at once, each as if it were alone."""

    def __init__(
        self,
        search: Any,
        *,
        slots: int = 64,
        encode_tokens: int = 4096,
        device: torch.device | str = "cpu",
    ) -> None:
        """Drive `search`, a `BeamSearch` in evaluation mode, eager or exported, on `device`.

        `slots` is how many sentences are decoded together for each beam size, `encode_tokens` how many source pieces,
        padding included, are encoded between two steps: a flood of new requests must not hold up the running ones.
        """
        for name, value in (("slots", slots), ("encode_tokens", encode_tokens)):
            if value < 1:
                raise SearchError(f"{name} is {value}: give a number from 1 on")
        self._search = search
        self._slots = slots
        self._encode_tokens = encode_tokens
        self._device = torch.device(device)
        self._queues: dict[int, deque[Request]] = {}  # by beam size, as the lanes are
        self._lanes: dict[int, Lane] = {}
        self._keys: set[Hashable] = set()
        self._finished: list[Result] = []

    @property
    def active(self) -> int:
        """Requests that are being decoded."""
        return sum(len(lane.active) for lane in self._lanes.values())

    @property
    def waiting(self) -> int:
        """Requests that have no slot yet."""
        return sum(map(len, self._queues.values()))

    def add(self, request: Request) -> None:
        """Take a request; raises `SearchError` when one of its key has not ended yet."""
        if request.key in self._keys:
            raise SearchError(f"request {request.key!r} is in the engine already: give each its own key")
        self._keys.add(request.key)
        self._queues.setdefault(request.options.beam, deque()).append(request)

    def cancel(self, *keys: Hashable) -> int:
        """Forget requests: they get no result, and their slots are free at once. Returns how many there were."""
        known = self._keys.intersection(keys)
        if known:
            self._keys -= known
            for beam, queue in self._queues.items():
                self._queues[beam] = deque(request for request in queue if request.key not in known)
            for lane in self._lanes.values():
                lane.drop([i for i, request in enumerate(lane.active) if request.key in known])
            self._discard_empty()
        return len(known)

    @torch.inference_mode()
    def step(self) -> int:
        """Let waiting requests join and say one piece in each slot; returns how many requests have not ended yet.

        An exception of the model becomes the result of the requests concerned; the engine can still be used.
        """
        for beam in list(self._queues):
            lane = self._lanes.setdefault(beam, Lane(self._search, beam, self._device))
            self._admit(lane, self._choose(beam, len(lane.active)))
            if lane.active:
                self._advance(lane)
        self._discard_empty()
        return len(self._keys)

    def finished(self) -> list[Result]:
        """The results since the last call."""
        results, self._finished = self._finished, []
        return results

    def run(self, requests: Iterable[Request], progress: Callable[[int], object] | None = None) -> list[Result]:
        """Search all `requests` and return their results in order; `progress` is told how many more have ended.

        The longest sources go first: sources of like length are encoded and looked at together without padding, and
        the short ones fill up the end.
        """
        requests = list(requests)
        results: dict[Hashable, Result] = {}
        others = self.finished()  # taken out first: one of them may have a key that is used again here
        added: set[Hashable] = set()
        try:
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
        finally:  # also when interrupted: leave nothing behind
            self.cancel(*(added - results.keys()))
            self._finished = others + self._finished
        return [results[request.key] for request in requests]

    def _choose(self, beam: int, active: int) -> list[Request]:
        """The waiting requests that join now: the oldest and those most like it in length.

        While more wait than there is room for, they join in groups of a quarter of the slots, for encoding costs by the
        longest; else at once.
        """
        queue, free = self._queues[beam], self._slots - active
        if free < min(len(queue), max(1, self._slots // 4)) or not queue:
            return []
        size = len(queue[0].src)
        window = list(islice(queue, free))
        chosen: list[Request] = []
        longest = 0
        for request in sorted(window, key=lambda request: abs(len(request.src) - size)):
            longest = max(longest, len(request.src))
            if chosen and longest * (len(chosen) + 1) > self._encode_tokens:
                break
            chosen.append(request)
        keys = {request.key for request in chosen}
        for _ in window:
            queue.popleft()
        queue.extendleft(request for request in reversed(window) if request.key not in keys)
        return chosen

    def _admit(self, lane: Lane, requests: Sequence[Request]) -> None:
        if not requests:
            return
        try:
            lane.admit(requests)
        except Exception as error:
            if len(requests) == 1:
                self._end([Result(requests[0].key, error=error)])
                return
            for request in requests:  # find the one that cannot be encoded: the others need not suffer
                self._admit(lane, [request])

    def _advance(self, lane: Lane) -> None:
        try:
            results = lane.advance()
        except Exception as error:  # the slots may be half written: nobody in this lane can go on
            results = [Result(request.key, error=error) for request in lane.active]
            lane.active.clear()
        self._end(results)

    def _end(self, results: Sequence[Result]) -> None:
        self._keys.difference_update(result.key for result in results)
        self._finished += results

    def _discard_empty(self) -> None:
        """Free the buffers of every beam size without active sentences: one long sentence may have made them large."""
        self._lanes = {beam: lane for beam, lane in self._lanes.items() if lane.active}
        self._queues = {beam: queue for beam, queue in self._queues.items() if queue or beam in self._lanes}
