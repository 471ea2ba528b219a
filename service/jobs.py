"""Jobs, the segments of one HTTP request each, and the queue of those whose segments wait.

Each segment has a time at which it is due, and the segment of all jobs that is due first is searched first. The jobs of
a client form flows: small ones, large ones, and those of low priority. The segments of a flow are due one after another
at the speed that is the flow's share, so that a client who sends much is overtaken by those who send little. This is
the virtual clock of Zhang (SIGCOMM 1990); idle engines take what is not due yet. The clock of a flow begins anew when
nothing of it waits, its speed depends on how many other flows wait, and no job is due later than half of the
service's time limit: so nobody pays later for speed that no other client wanted.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from service.errors import ServiceError
from service.interfaces import SearchRequest

log = logging.getLogger("service.worker")

SMALL, LARGE, BULK = 1.0, 1 / 3, 1 / 9
"""weights of a client's flows: its small requests, its long documents, its requests of low priority"""
LARGE_SEGMENTS, LARGE_PIECES = 16, 400
"""from which a job is a large one: it leaves time and rows to small ones"""
ROOM = {SMALL: math.inf, LARGE: 0.4, BULK: 0.3}
"""share of the rows up to which segments are taken ahead of their time, as long as small jobs come"""
RECENT_S = 1.0
"""seconds after a small job for which the engines keep room for others"""


@dataclass(eq=False)
class Flow:
    """The jobs of a client that share its part of the speed."""

    client: str
    weight: float
    segments: int = 0  # that wait
    pieces: int = 0
    ends: float = -math.inf  # when the last one is due
    pace: float = 1.0  # seconds from one piece of its last job to the next

    def due_until(self, time: float) -> float:
        """Return about how many of the waiting pieces are due until a time."""
        return min(self.pieces, max(0.0, self.pieces - (self.ends - time) / self.pace))


@dataclass(eq=False)
class Job:
    """All segments of one HTTP request; ``unsent`` are those not handed to the engine yet.

    due: the time at which its next segment is due. pace: seconds from one piece to the next.
    """

    requests: Sequence[SearchRequest]
    future: asyncio.Future[list[Any]]
    loop: asyncio.AbstractEventLoop
    flow: Flow
    due: float
    pace: float
    began: float  # time of its arrival
    unsent: deque[SearchRequest] = field(default_factory=deque)
    results: dict[Hashable, Any] = field(default_factory=dict)
    resolved: bool = False  # whether the future is about to end
    each: Callable[[Any], None] | None = None
    """called in the event loop with each result, as soon as there is one"""

    @property
    def ended(self) -> bool:
        """Whether nothing more needs to be searched for it."""
        return self.resolved or self.future.done()


class Inside(NamedTuple):
    """A segment in an engine."""

    job: Job
    pieces: int
    since: float


@dataclass(eq=False)
class Share:
    """What one thread translates."""

    thread: threading.Thread
    inside: dict[Hashable, Inside] = field(default_factory=dict)
    """the segments in its engine, by key"""
    pieces: int = 0
    """of all these segments"""
    rows: int = 0
    """of its engine, in use in the last step"""
    began: float | None = None
    """when the round began in which it is; None between rounds"""

    def put(self, request: SearchRequest, job: Job, now: float) -> None:
        self.inside[request.key] = Inside(job, len(request.src), now)
        self.pieces += len(request.src)

    def take(self, key: Hashable) -> Inside | None:
        """Remove a segment and return it; None if it is not there."""
        segment = self.inside.pop(key, None)
        if segment is not None:
            self.pieces -= segment.pieces
        return segment

    def clear(self) -> set[Job]:
        """Remove all segments and return their jobs."""
        jobs = {segment.job for segment in self.inside.values()}
        self.inside.clear()
        self.pieces = 0
        return jobs


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

    for job, _ in outcomes:
        job.resolved = True
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
        self._heap: list[tuple[float, int, Job]] = []
        self._serial = itertools.count()
        self._flows: dict[tuple[str, float], Flow] = {}  # those that wait
        self.weight = 0.0  # of all these
        self._last_small = -math.inf  # when a small job was added

    def __len__(self) -> int:
        return len(self._heap)

    def flow(self, client: str, weight: float) -> Flow:
        """Return a client's flow of this weight; a new one if nothing of it waits."""
        return self._flows.get((client, weight)) or Flow(client, weight)

    def flows(self) -> Collection[Flow]:
        """Return the flows that wait."""
        return self._flows.values()

    def add(self, job: Job) -> None:
        """Add a new job."""
        pieces = sum(len(request.src) for request in job.unsent)
        job.flow.pace = job.pace
        job.flow.ends = job.due + pieces * job.pace
        if job.flow.weight == SMALL:
            self._last_small = job.began
        self._count(job.flow, len(job.unsent), pieces)
        self._push(job)

    def take(self, now: float, filled: float) -> tuple[Job, SearchRequest] | None:
        """Remove the segment that is due first, for an engine of which this share of the rows is filled.

        None if only ended jobs are left, or if a small job that may come soon should find room: then others take no
        more than their share.
        """
        while self._heap:
            due, _, job = self._heap[0]
            if job.ended:
                heapq.heappop(self._heap)
                self._leave(job)
                continue
            if due > now and now - self._last_small < RECENT_S and filled >= ROOM[job.flow.weight]:
                return None
            heapq.heappop(self._heap)
            request = job.unsent.popleft()
            pieces = len(request.src)
            self._count(job.flow, -1, -pieces)
            job.due += pieces * job.pace
            if job.unsent:
                self._push(job)
            return job, request
        return None

    def drop_ended(self) -> None:
        """Remove the jobs whose futures have ended."""
        for _, _, job in self._heap:
            if job.ended:
                self._leave(job)
        self._heap = [entry for entry in self._heap if not entry[2].ended]
        heapq.heapify(self._heap)

    def clear(self) -> set[Job]:
        """Remove all jobs and return them."""
        jobs = {job for _, _, job in self._heap}
        self._heap.clear()
        self._flows.clear()
        self.segments = self.pieces = 0
        self.weight = 0.0
        return jobs

    def _push(self, job: Job) -> None:
        heapq.heappush(self._heap, (job.due, next(self._serial), job))

    def _leave(self, job: Job) -> None:
        """Forget the unsent segments of a job that is not in the heap any more."""
        self._count(job.flow, -len(job.unsent), -sum(len(request.src) for request in job.unsent))

    def _count(self, flow: Flow, segments: int, pieces: int) -> None:
        waited = flow.segments > 0
        self.segments += segments
        self.pieces += pieces
        flow.segments += segments
        flow.pieces += pieces
        if not waited:
            self._flows[flow.client, flow.weight] = flow
            self.weight += flow.weight
        elif not flow.segments:
            del self._flows[flow.client, flow.weight]
            self.weight = self.weight - flow.weight if self._flows else 0.0  # without the errors of rounding
