"""Jobs, the segments of one HTTP request each, and the queue of those whose segments wait."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from service.errors import ServiceError

log = logging.getLogger("service.worker")

LARGE = 16  # segments of a job from which it is looked at by itself in a prediction


class SearchRequest(Protocol):
    """A request to the engine (nmt.search.engine.Request): a key that is unique in the engine, and source pieces."""

    @property
    def key(self) -> Hashable: ...
    @property
    def src(self) -> Sequence[int]: ...


@dataclass(eq=False)
class Job:
    """All segments of one HTTP request; ``unsent`` are those not handed to the engine yet.

    due: the time at which its next segment is due; the segment of all jobs that is due first is searched first.
    pace: seconds from one piece of the job to the next, so that a long document leaves time to the others.
    """

    requests: Sequence[SearchRequest]
    future: asyncio.Future[list[Any]]
    loop: asyncio.AbstractEventLoop
    due: float
    pace: float
    unsent: deque[SearchRequest] = field(default_factory=deque)
    left: int = 0  # pieces of `unsent`
    results: dict[Hashable, Any] = field(default_factory=dict)
    each: Callable[[Any], None] | None = None
    """called in the event loop with each result, as soon as there is one"""

    def due_until(self, time: float) -> float:
        """Return the pieces that are due until a time."""
        return min(self.left, max(0.0, (time - self.due) / self.pace) + len(self.unsent[0].src))


Outcome = list[Any] | ServiceError


def resolve(outcomes: Sequence[tuple[Job, Outcome]]) -> None:
    """End the futures of jobs with results or an error, from any thread. A finished future stays as it is."""

    def end(ended: Sequence[tuple[Job, Outcome]]) -> None:
        for job, outcome in ended:
            if not job.future.done():
                if isinstance(outcome, ServiceError):
                    job.future.set_exception(outcome)
                else:
                    job.future.set_result(outcome)

    for loop in {job.loop for job, _ in outcomes}:  # one call into an event loop, which wakes it, for all its jobs
        try:
            loop.call_soon_threadsafe(end, [(job, outcome) for job, outcome in outcomes if job.loop is loop])
        except RuntimeError:  # the loop is closed, so nothing awaits the futures
            log.debug("results dropped: the event loop is closed")


class Queue:
    """The jobs with unsent segments, by the time at which the next one is due. Its owner's lock guards it."""

    def __init__(self) -> None:
        self.segments = 0  # unsent ones of all jobs
        self.pieces = 0
        self.large: set[Job] = set()  # those of many segments
        self._heap: list[tuple[float, int, Job]] = []
        self._serial = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, job: Job) -> None:
        """Add a new job."""
        self.segments += len(job.unsent)
        self.pieces += job.left
        self._push(job)

    def take(self) -> tuple[Job, SearchRequest] | None:
        """Remove the segment that is due first; None if only ended jobs were left."""
        while self._heap:
            _, _, job = heapq.heappop(self._heap)
            if job.future.done():
                self._leave(job)
                continue
            request = job.unsent.popleft()
            pieces = len(request.src)
            self.segments -= 1
            self.pieces -= pieces
            job.left -= pieces
            job.due += pieces * job.pace
            if job.unsent:
                self._push(job)
            else:
                self.large.discard(job)
            return job, request
        return None

    def drop_ended(self) -> None:
        """Remove the jobs whose futures have ended."""
        for _, _, job in self._heap:
            if job.future.done():
                self._leave(job)
        self._heap = [entry for entry in self._heap if not entry[2].future.done()]
        heapq.heapify(self._heap)

    def clear(self) -> set[Job]:
        """Remove all jobs and return them."""
        jobs = {job for _, _, job in self._heap}
        self._heap.clear()
        self.large.clear()
        self.segments = self.pieces = 0
        return jobs

    def _push(self, job: Job) -> None:
        heapq.heappush(self._heap, (job.due, next(self._serial), job))
        if len(job.unsent) >= LARGE:
            self.large.add(job)
        else:
            self.large.discard(job)

    def _leave(self, job: Job) -> None:
        """Forget the unsent segments of a job that is not in the heap any more."""
        self.segments -= len(job.unsent)
        self.pieces -= job.left
        self.large.discard(job)
