"""The owner thread of one engine: takes accepted requests, lets them share the engine's steps, hands results back.

The asyncio side submits a group of search requests (all segments of one HTTP request) and awaits one future. The
thread alone touches the engine. A future that is done already - the client went away, the deadline passed - is the
one and only sign of cancellation: its segments are dropped before they join, or give up their slots before the next
step. Whatever happens to the engine or to the thread, each future ends with results or with an error.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from service.errors import EngineFailed, ServiceError, Unavailable

log = logging.getLogger("service.worker")


class SearchRequest(Protocol):
    """What the engine takes (nmt.search.engine.Request): here only its key matters, unique in the engine."""

    @property
    def key(self) -> Hashable: ...


class SearchResult(Protocol):
    """What the engine gives back (nmt.search.engine.Result)."""

    @property
    def key(self) -> Hashable: ...
    @property
    def error(self) -> Exception | None: ...


class SearchEngine(Protocol):
    """What the worker needs of nmt.search.engine.Engine."""

    def add(self, request: Any) -> None: ...
    def cancel(self, key: Hashable) -> Any: ...
    def step(self) -> int: ...
    def finished(self) -> Sequence[Any]: ...


class Observer(Protocol):
    """Where the worker reports its work (service.metrics)."""

    def stepped(self, active: int, seconds: float) -> None: ...
    def ended(self, segments: int) -> None: ...


@dataclass(eq=False)
class Job:
    """All segments of one HTTP request; ``pending`` are those without a result yet."""

    requests: Sequence[SearchRequest]
    future: asyncio.Future[list[Any]]
    loop: asyncio.AbstractEventLoop
    unsent: deque[SearchRequest] = field(default_factory=deque)
    results: dict[Hashable, Any] = field(default_factory=dict)

    def resolve(self, outcome: list[Any] | ServiceError) -> None:
        """End the future, from any thread; one that is done already stays as it is."""

        def end() -> None:
            if not self.future.done():
                if isinstance(outcome, ServiceError):
                    self.future.set_exception(outcome)
                else:
                    self.future.set_result(outcome)

        try:
            self.loop.call_soon_threadsafe(end)
        except RuntimeError:  # the loop is closed: nobody waits any more
            log.debug("a result came after the event loop was closed")


class Worker:
    """Drives an engine from a thread of its own.

    make_engine: builds the engine, in the thread; called again when a failed engine cannot be cleared.
    slots: segments handed to the engine at once; the others wait here, where they are cheap to drop.
    capacity: segments that may wait; more are refused.
    """

    def __init__(
        self,
        make_engine: Callable[[], SearchEngine],
        *,
        slots: int,
        capacity: int,
        name: str = "worker",
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.failure: str | None = None  # why the thread ended before it was told to
        self._make_engine = make_engine
        self._slots = slots
        self._capacity = capacity
        self._observer = observer
        self._clock = clock
        self._wake = threading.Condition()
        self._jobs: deque[Job] = deque()  # with segments not handed to the engine yet; served in turns
        self._inside: dict[Hashable, Job] = {}  # segments in the engine
        self._reserved = 0  # segments about to be submitted
        self._waiting = 0  # segments in _jobs
        self._recent_segments = 0.0  # finished, and the seconds that it took, both fading:
        self._recent_seconds = 0.0  # their quotient is the throughput over about the last hundred steps
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    # --- the asyncio side ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread works."""
        return self._thread.is_alive() and self.failure is None

    @property
    def preparing(self) -> int:
        """Segments whose text is still being cut and tokenised."""
        return self._reserved

    @property
    def waiting(self) -> int:
        """Segments that have no slot yet, those in preparation included."""
        return self._waiting + self._reserved

    @property
    def active(self) -> int:
        """Segments in the engine."""
        return len(self._inside)

    def retry_after(self, more: int = 0) -> int:
        """Seconds until the present queue should be worked off, by the measured throughput; 1 to 60."""
        if self._recent_segments < 1:
            return 1
        ahead = self.waiting + self.active + more
        return max(1, min(60, math.ceil(ahead * self._recent_seconds / self._recent_segments)))

    @contextmanager
    def reserve(self, segments: int) -> Iterator[None]:
        """Hold room in the queue while the text is prepared. Raises Unavailable when the queue is full."""
        self._admit(segments)
        self._reserved += segments
        try:
            yield
        finally:
            self._reserved -= segments

    def submit(self, requests: Sequence[SearchRequest]) -> asyncio.Future[list[Any]]:
        """Queue the segments of one request; the future gives their results in order, or raises ServiceError."""
        loop = asyncio.get_running_loop()
        job = Job(requests, loop.create_future(), loop, deque(requests))
        if not requests:
            job.future.set_result([])
            return job.future
        with self._wake:
            if self._stopping or self.failure is not None:
                raise Unavailable("the translation worker has stopped", closing=True)
            self._admit(len(requests))
            self._jobs.append(job)
            self._waiting += len(requests)
            self._wake.notify()
        job.future.add_done_callback(self._nudge)
        return job.future

    def stop(self, timeout_s: float) -> bool:
        """End the thread once its work is done; what is left after ``timeout_s`` seconds gets an error."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        ended = not self._thread.is_alive()
        self._fail_all(Unavailable("the service was stopped before this was translated", closing=True))
        return ended

    def abandon(self, error: ServiceError) -> None:
        """Answer everything accepted with an error (the drain time is over)."""
        self._fail_all(error)

    def _admit(self, segments: int) -> None:
        # A request larger than the whole queue is let in when nothing waits: it could not be served otherwise.
        if self.waiting and self.waiting + segments > self._capacity:
            raise Unavailable("the queue is full, try again later", retry_after=self.retry_after())

    def _nudge(self, future: asyncio.Future[list[Any]]) -> None:
        if future.cancelled():
            with self._wake:
                self._wake.notify()

    # --- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            engine = self._make_engine()
            while self._wait_for_work():
                try:
                    self._round(engine)
                except Exception as error:
                    log.exception("%s: the engine failed", self.name)
                    engine = self._recover(engine, error)
        except BaseException as error:
            log.exception("%s: the worker thread ended", self.name)
            self.failure = f"{type(error).__name__}: {error}"
        finally:
            self._fail_all(EngineFailed("the translation worker has stopped"))

    def _wait_for_work(self) -> bool:
        """Sleep until there is something to do; False when told to stop and all is done."""
        with self._wake:
            while not self._jobs and not self._inside:
                if self._stopping:
                    return False
                self._wake.wait()
        return True

    def _round(self, engine: SearchEngine) -> None:
        """Drop what nobody waits for, let waiting segments join, make one step, hand out what is finished."""
        began = self._clock()
        self._drop_cancelled(engine)
        self._feed(engine)
        if not self._inside:
            return
        active = len(self._inside)
        engine.step()
        ended = [result for result in engine.finished() if self._collect(result)]
        seconds = self._clock() - began
        self._measure(len(ended), seconds)
        if self._observer is not None:
            self._observer.stepped(active, seconds)
            self._observer.ended(len(ended))

    def _drop_cancelled(self, engine: SearchEngine) -> None:
        for key in [key for key, job in self._inside.items() if job.future.done()]:
            del self._inside[key]
            engine.cancel(key)
        with self._wake:
            for job in [job for job in self._jobs if job.future.done()]:
                self._jobs.remove(job)
                self._waiting -= len(job.unsent)

    def _feed(self, engine: SearchEngine) -> None:
        """Fill the slots, one segment of each request in turn: a long document does not hold up the others."""
        with self._wake:
            chosen: list[tuple[SearchRequest, Job]] = []
            while self._jobs and len(self._inside) + len(chosen) < self._slots:
                job = self._jobs.popleft()
                chosen.append((job.unsent.popleft(), job))
                self._waiting -= 1
                if job.unsent:
                    self._jobs.append(job)
        for request, job in chosen:
            self._inside[request.key] = job
        for request, job in chosen:
            try:
                engine.add(request)
            except Exception as error:
                del self._inside[request.key]
                self._fail(job, error)

    def _collect(self, result: SearchResult) -> bool:
        """Take one result; True when somebody waits for it."""
        job = self._inside.pop(result.key, None)
        if job is None or job.future.done():
            return False
        if result.error is not None:
            self._fail(job, result.error)
            return True
        job.results[result.key] = result
        if len(job.results) == len(job.requests):
            job.resolve([job.results[request.key] for request in job.requests])
        return True

    def _fail(self, job: Job, error: BaseException) -> None:
        """End a request by an error of the engine; the text goes to the log, not to the client."""
        log.error("%s: a request failed: %s: %s", self.name, type(error).__name__, error)
        job.resolve(EngineFailed("the translation failed"))

    def _recover(self, engine: SearchEngine, error: Exception) -> SearchEngine:
        """After a failed step: its segments end by an error, and the engine goes on empty, or is built anew."""
        keys = list(self._inside)
        jobs = set(self._inside.values())
        self._inside.clear()
        for job in jobs:
            self._fail(job, error)
        try:
            for key in keys:
                engine.cancel(key)
            engine.finished()
        except Exception:
            log.exception("%s: the engine cannot be cleared, building a new one", self.name)
            return self._make_engine()
        return engine

    def _fail_all(self, error: ServiceError) -> None:
        with self._wake:
            jobs = {*self._jobs, *list(self._inside.values())}  # the copy is one step for other threads
            self._jobs.clear()
            self._waiting = 0
            self._wake.notify()
        for job in jobs:
            job.resolve(error)

    def _measure(self, ended: int, seconds: float) -> None:
        self._recent_segments = 0.99 * self._recent_segments + ended
        self._recent_seconds = 0.99 * self._recent_seconds + seconds
