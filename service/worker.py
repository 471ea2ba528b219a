"""The thread that owns one search engine and translates the segments of all requests together.

The asyncio side submits all segments of one HTTP request as one job and awaits its future. Only the thread uses the
engine. A job is cancelled by ending its future, which happens when the client disconnects or the deadline passes: its
waiting segments are dropped, and those in the engine are removed before the next step. Every future ends with results
or with an error, whatever happens to the engine or to the thread.
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
    """A request to the engine (nmt.search.engine.Request). Only its key is used here, which is unique in the engine."""

    @property
    def key(self) -> Hashable: ...


class SearchResult(Protocol):
    """A result of the engine (nmt.search.engine.Result)."""

    @property
    def key(self) -> Hashable: ...
    @property
    def error(self) -> Exception | None: ...


class SearchEngine(Protocol):
    """The part of nmt.search.engine.Engine that the worker uses."""

    def add(self, request: Any) -> None: ...
    def cancel(self, key: Hashable) -> Any: ...
    def step(self) -> int: ...
    def finished(self) -> Sequence[Any]: ...


class Observer(Protocol):
    """Receiver of the worker's measurements (service.metrics.Metrics)."""

    def stepped(self, active: int, seconds: float) -> None: ...
    def ended(self, segments: int) -> None: ...


@dataclass(eq=False)
class Job:
    """All segments of one HTTP request; ``unsent`` are those not handed to the engine yet."""

    requests: Sequence[SearchRequest]
    future: asyncio.Future[list[Any]]
    loop: asyncio.AbstractEventLoop
    unsent: deque[SearchRequest] = field(default_factory=deque)
    results: dict[Hashable, Any] = field(default_factory=dict)

    def resolve(self, outcome: list[Any] | ServiceError) -> None:
        """End the future with results or an error, from any thread. A finished future stays as it is."""

        def end() -> None:
            if not self.future.done():
                if isinstance(outcome, ServiceError):
                    self.future.set_exception(outcome)
                else:
                    self.future.set_result(outcome)

        try:
            self.loop.call_soon_threadsafe(end)
        except RuntimeError:  # the loop is closed, so nothing awaits the future
            log.debug("result dropped: the event loop is closed")


class Worker:
    """Run an engine in a thread of its own.

    make_engine: builds the engine, in the thread; called again if a failed engine cannot be cleared.
    slots: largest number of segments in the engine; the others wait here, where they can be dropped at no cost.
    capacity: largest number of segments that may wait; beyond it requests are refused.
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
        self.failure: str | None = None  # why the thread ended unexpectedly
        self._make_engine = make_engine
        self._slots = slots
        self._capacity = capacity
        self._observer = observer
        self._clock = clock
        self._wake = threading.Condition()
        self._jobs: deque[Job] = deque()  # jobs with unsent segments, served round-robin
        self._inside: dict[Hashable, Job] = {}  # jobs of the segments in the engine, by key
        self._reserved = 0  # segments whose text is still being prepared
        self._waiting = 0  # unsent segments of all jobs
        # Exponentially decaying sums; their quotient is the throughput over about the last hundred steps.
        self._recent_segments = 0.0
        self._recent_seconds = 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    # --- the asyncio side ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True while the thread runs and has not failed."""
        return self._thread.is_alive() and self.failure is None

    @property
    def preparing(self) -> int:
        """Number of segments whose text is still being split and tokenised."""
        return self._reserved

    @property
    def waiting(self) -> int:
        """Number of segments without a slot, including those in preparation."""
        return self._waiting + self._reserved

    @property
    def active(self) -> int:
        """Number of segments in the engine."""
        return len(self._inside)

    def retry_after(self, more: int = 0) -> int:
        """Estimate the seconds (1 to 60) until the queue is empty, from the measured throughput."""
        if self._recent_segments < 1:
            return 1
        ahead = self.waiting + self.active + more
        return max(1, min(60, math.ceil(ahead * self._recent_seconds / self._recent_segments)))

    @contextmanager
    def reserve(self, segments: int) -> Iterator[None]:
        """Reserve room in the queue while the text is prepared. Raises Unavailable if the queue is full."""
        self._admit(segments)
        self._reserved += segments
        try:
            yield
        finally:
            self._reserved -= segments

    def submit(self, requests: Sequence[SearchRequest]) -> asyncio.Future[list[Any]]:
        """Queue the segments of one request and return a future of their results, in order.

        The future raises ServiceError. Raises Unavailable if the queue is full or the worker has stopped.
        """
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
        """Finish all jobs, then end the thread; return whether it ended.

        Jobs not finished within ``timeout_s`` seconds end with an error.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        ended = not self._thread.is_alive()
        self._fail_all(Unavailable("the service was stopped before this was translated", closing=True))
        return ended

    def abandon(self, error: ServiceError) -> None:
        """End all jobs with an error, when the drain time is over."""
        self._fail_all(error)

    def _admit(self, segments: int) -> None:
        # When nothing waits, even a request larger than the queue is accepted: it could never be served otherwise.
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
        """Sleep until there is work; return False when stopping and no work is left."""
        with self._wake:
            while not self._jobs and not self._inside:
                if self._stopping:
                    return False
                self._wake.wait()
        return True

    def _round(self, engine: SearchEngine) -> None:
        """Drop cancelled segments, fill free slots, make one decoding step and deliver the finished results."""
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
        """Fill the slots with one segment per job in turn, so that a long document does not delay other requests."""
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
        """Store one result; return False if its job has been cancelled."""
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
        """End a job after an error of the engine. Its message is only logged, since it may expose internals."""
        log.error("%s: a request failed: %s: %s", self.name, type(error).__name__, error)
        job.resolve(EngineFailed("the translation failed"))

    def _recover(self, engine: SearchEngine, error: Exception) -> SearchEngine:
        """After a failed step, fail all jobs in the engine; return the cleared engine, or a new one if that fails."""
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
            log.exception("%s: the engine cannot be cleared; building a new one", self.name)
            return self._make_engine()
        return engine

    def _fail_all(self, error: ServiceError) -> None:
        with self._wake:
            jobs = {*self._jobs, *list(self._inside.values())}  # list(): an atomic copy, the thread may change it
            self._jobs.clear()
            self._waiting = 0
            self._wake.notify()
        for job in jobs:
            job.resolve(error)

    def _measure(self, ended: int, seconds: float) -> None:
        self._recent_segments = 0.99 * self._recent_segments + ended
        self._recent_seconds = 0.99 * self._recent_seconds + seconds
