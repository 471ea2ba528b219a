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
from typing import Any, NamedTuple

import torch

from nmt.errors import SearchError
from nmt.search.graphed import GraphedBatch, GraphedBatches
from nmt.search.request import Hypothesis, Request, Result, SearchOptions
from nmt.search.running_batch import RunningBatch

__all__ = ["Engine", "Hypothesis", "Request", "Result", "SearchOptions"]

ROWS = 320
"""default number of hypotheses that are decoded together: 64 sentences with a beam of 5"""

FIRST_LANE = 32
"""source pieces, EOS included, of the longest sentences in the first lane"""

JOIN_SHARE, JOIN_STEPS = 4, 4
"""while n sentences are decoded, fewer than n / JOIN_SHARE new ones wait for others, for at most JOIN_STEPS steps"""


class Lane(NamedTuple):
    """Requests that are decoded in one batch: those of one beam size, with sources of similar length.

    The memory of a batch is as wide as its longest source, and a step reads all of it. So a single source of 100 pieces
    would slow down 63 short ones to a half (int8, beam 5).
    """

    beam: int
    width: int
    """maximum length of a source: 32, 64, 128, and so on"""


class Waiting(NamedTuple):
    """A request in a queue."""

    request: Request
    since: int
    """number of steps that the engine had made when it came"""


def lane_of(request: Request, width: int = FIRST_LANE) -> Lane:
    """Return the lane of a request, where sources of the first lane have up to `width` pieces."""
    while width < len(request.src):
        width *= 2
    return Lane(request.options.beam, width)


class Engine:
    """Searches many requests together, each with the result that it would have alone."""

    def __init__(
        self,
        search: Any,
        *,
        rows: int = ROWS,
        encode_tokens: int = 4096,
        device: torch.device | str = "cpu",
        graphs: GraphedBatches | bool = False,
    ) -> None:
        """Run `search`, a `BeamSearch` in evaluation mode, eager or exported, on `device`.

        `rows` is the number of hypotheses that are decoded together; a sentence takes as many as its beam is wide. The
        memory is bounded by `rows` times the length of the sources. `encode_tokens` is the maximum number of source
        pieces, padding included, that are encoded for a lane between two steps, so that many new requests do not hold
        up the running ones. With `graphs`, a CUDA device decodes in `GraphedBatches`; given such, so does any device.
        Raises `SearchError` if `rows` or `encode_tokens` is below 1.
        """
        for name, value in (("rows", rows), ("encode_tokens", encode_tokens)):
            if value < 1:
                raise SearchError(f"{name} is {value}: it must be at least 1")
        self.rows = rows
        self._search = search
        self._encode_tokens = encode_tokens
        self._device = torch.device(device)
        if isinstance(graphs, bool):
            self._graphs = GraphedBatches(rows) if graphs and self._device.type == "cuda" else None
        else:
            self._graphs = graphs
        self._first_lane = self._graphs.widest if self._graphs else FIRST_LANE
        self._queues: dict[Lane, deque[Waiting]] = {}
        self._batches: dict[Lane, RunningBatch | GraphedBatch] = {}
        self._keys: set[Hashable] = set()
        self._finished: list[Result] = []
        self._steps = 0

    @property
    def active(self) -> int:
        """Number of requests that are being decoded."""
        return sum(len(batch.active) for batch in self._batches.values())

    @property
    def waiting(self) -> int:
        """Number of requests that have no slot yet."""
        return sum(map(len, self._queues.values()))

    @property
    def load(self) -> int:
        """Rows that all unfinished requests take or will take."""
        queued = sum(lane.beam * len(queue) for lane, queue in self._queues.items())
        return self._active_rows + queued

    @property
    def _active_rows(self) -> int:
        return sum(lane.beam * len(batch.active) for lane, batch in self._batches.items())

    def add(self, request: Request) -> None:
        """Queue a request; raises `SearchError` if an unfinished one in the engine has the same key."""
        if request.key in self._keys:
            raise SearchError(f"request {request.key!r} is in the engine already: give each request its own key")
        self._keys.add(request.key)
        self._queues.setdefault(lane_of(request, self._first_lane), deque()).append(Waiting(request, self._steps))

    def cancel(self, *keys: Hashable) -> int:
        """Drop unfinished requests: they get no result, and their slots are free at once. Return how many there were.

        Keys of no unfinished request are ignored.
        """
        cancelled = self._keys.intersection(keys)
        if cancelled:
            self._keys -= cancelled
            for lane, queue in self._queues.items():
                self._queues[lane] = deque(waiting for waiting in queue if waiting.request.key not in cancelled)
            for batch in self._batches.values():
                batch.drop([i for i, request in enumerate(batch.active) if request.key in cancelled])
            self._discard_empty()
        return len(cancelled)

    @torch.inference_mode()
    def step(self) -> int:
        """Admit waiting requests, then generate one piece in each slot; return the number of unfinished requests.

        An exception that the model raises becomes the result of the requests concerned. The engine remains usable.
        """
        self._steps += 1
        for lane in sorted(self._queues, key=lambda lane: self._queues[lane][0].since):
            free = self._free(lane)
            # Without room for the request that has waited longest, all wait. Else those with a narrower beam would take
            # each row that becomes free, and it would wait for ever.
            if not free:
                break
            requests = self._choose(self._queues[lane], free)
            if requests:
                if lane not in self._batches:
                    self._batches[lane] = self._new_batch(lane)
                self._admit(self._batches[lane], requests)
        for batch in self._batches.values():
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

    def _free(self, lane: Lane) -> int:
        """Return for how many requests of a lane there is room now.

        While more wait than there is room for, there is none until a quarter of all can join, as the encoder runs once
        over those that join together, and the step waits for it.
        """
        most = max(1, self.rows // lane.beam)
        used = self._active_rows
        free = (self.rows - used) // lane.beam if used else most  # alone, a beam may be wider than `rows`
        return free if free >= min(len(self._queues[lane]), max(1, most // 4)) else 0

    def _choose(self, queue: deque[Waiting], free: int) -> list[Request]:
        """Take from a queue the requests that join now: the oldest, and up to `free` - 1 closest to it in length."""
        # Single arrivals wait for each other, but not for long. With few sentences in the engine nothing waits.
        if len(queue) < self.active // JOIN_SHARE and self._steps - queue[0].since <= JOIN_STEPS:
            return []
        # The `free` oldest are all that could join, and the oldest always does, so no request is overtaken for ever.
        window = [queue.popleft() for _ in range(min(free, len(queue)))]
        size = len(window[0].request.src)
        chosen: list[Request] = []
        longest = 0
        # Similar lengths encode with little padding. The sort is stable, so the oldest comes first. It joins even if it
        # exceeds encode_tokens by itself.
        for request, _ in sorted(window, key=lambda waiting: abs(len(waiting.request.src) - size)):
            longest = max(longest, len(request.src))
            if chosen and longest * (len(chosen) + 1) > self._encode_tokens:
                break
            chosen.append(request)
        # Put those of the window that were not chosen back at the front of the queue, in their order.
        keys = {request.key for request in chosen}
        queue.extendleft(waiting for waiting in reversed(window) if waiting.request.key not in keys)
        return chosen

    def _new_batch(self, lane: Lane) -> RunningBatch | GraphedBatch:
        if self._graphs is not None and lane.width == self._first_lane:
            return self._graphs(self._search, lane.beam, self._device)
        return RunningBatch(self._search, lane.beam, self._device)

    def _admit(self, batch: RunningBatch | GraphedBatch, requests: Sequence[Request]) -> None:
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

    def _advance(self, batch: RunningBatch | GraphedBatch) -> None:
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
        self._batches = {lane: batch for lane, batch in self._batches.items() if batch.active}
        self._queues = {lane: queue for lane, queue in self._queues.items() if queue}
