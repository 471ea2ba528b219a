"""The threads that own the search engines of a model and translate the segments of all requests together.

The asyncio side submits all segments of one HTTP request as one job and awaits its future. Each thread has an engine of
its own, which only it uses, and takes segments from the one queue of jobs. A job is cancelled by ending its future,
which happens when the client disconnects or the deadline passes: its waiting segments are dropped, and those in an
engine are removed before its next step. Every future ends with results or with an error, whatever happens to an engine
or to a thread.
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
    @property
    def load(self) -> int: ...
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


@dataclass(eq=False)
class Share:
    """What one thread translates."""

    thread: threading.Thread
    inside: dict[Hashable, Job] = field(default_factory=dict)
    """jobs of the segments in its engine, by key"""


class Worker:
    """Run engines, each in a thread of its own.

    make_engine: builds an engine, in its thread; called again if a failed engine cannot be cleared.
    rows: an engine is given segments until its load is so large; the others wait here, where they can be dropped at no
    cost.
    capacity: largest number of segments that may wait; beyond it requests are refused.
    """

    def __init__(
        self,
        make_engine: Callable[[], SearchEngine],
        *,
        rows: int,
        capacity: int,
        engines: int = 1,
        name: str = "worker",
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.failure: str | None = None  # why a thread ended unexpectedly
        self._make_engine = make_engine
        self._rows = rows
        self._capacity = capacity
        self._observer = observer
        self._clock = clock
        self._wake = threading.Condition()
        self._jobs: deque[Job] = deque()  # jobs with unsent segments, served round-robin
        self._reserved = 0  # segments whose text is still being prepared
        self._waiting = 0  # unsent segments of all jobs
        self._ended = False  # whether a job ended early, so that some of its segments may still wait
        # Exponentially decaying sums; their quotient is the throughput over about the last hundred steps.
        self._recent_segments = 0.0
        self._recent_seconds = 0.0
        self._stopping = False
        self._shares: list[Share] = []
        for number in range(engines):
            thread = threading.Thread(target=self._run, args=[number], name=f"{name} {number}", daemon=True)
            self._shares.append(Share(thread))

    # --- the asyncio side ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads."""
        for share in self._shares:
            share.thread.start()

    @property
    def alive(self) -> bool:
        """True while all threads run."""
        return self.failure is None and all(share.thread.is_alive() for share in self._shares)

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
        """Number of segments in the engines."""
        return sum(len(share.inside) for share in self._shares)

    def retry_after(self, more: int = 0) -> int:
        """Estimate the seconds (1 to 60) until the queue is empty, from the measured throughput."""
        if self._recent_segments < 1:
            return 1
        ahead = self.waiting + self.active + more
        seconds = ahead * self._recent_seconds / self._recent_segments / len(self._shares)
        return max(1, min(60, math.ceil(seconds)))

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
            self._wake.notify(len(requests))
        job.future.add_done_callback(self._nudge)
        return job.future

    def stop(self, timeout_s: float) -> bool:
        """Finish all jobs, then end the threads; return whether they ended.

        Jobs not finished within ``timeout_s`` seconds end with an error.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        ends = time.monotonic() + timeout_s
        for share in self._shares:
            if share.thread.is_alive():
                share.thread.join(max(0.0, ends - time.monotonic()))
        ended = not any(share.thread.is_alive() for share in self._shares)
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
        if future.cancelled() or future.exception() is not None:
            with self._wake:
                self._ended = True
                self._wake.notify_all()

    # --- the threads --------------------------------------------------------------------------------------------

    def _run(self, number: int) -> None:
        share = self._shares[number]
        try:
            engine = self._make_engine()
            while self._wait_for_work(share):
                try:
                    self._round(engine, share)
                except Exception as error:
                    log.exception("%s: the engine failed", self.name)
                    engine = self._recover(engine, share, error)
        except BaseException as error:
            log.exception("%s: a worker thread ended", self.name)
            self.failure = f"{type(error).__name__}: {error}"
        finally:
            if self.failure is not None:  # of this thread, or of another, which leaves none that could be relied on
                self._fail_all(EngineFailed("the translation worker has stopped"))

    def _wait_for_work(self, share: Share) -> bool:
        """Sleep until there is work; return False when stopping and no work is left, or when a thread failed."""
        with self._wake:
            while not self._jobs and not share.inside:
                if self._stopping or self.failure is not None:
                    return False
                self._wake.wait()
        return self.failure is None

    def _round(self, engine: SearchEngine, share: Share) -> None:
        """Drop cancelled segments, fill free rows, make one decoding step and deliver the finished results."""
        began = self._clock()
        self._drop_ended(engine, share)
        self._feed(engine, share)
        if not share.inside:
            return
        active = len(share.inside)
        engine.step()
        outcomes: list[tuple[Job, Outcome]] = []
        ended = [result for result in engine.finished() if self._collect(result, share, outcomes)]
        if outcomes:
            resolve(outcomes)
        seconds = self._clock() - began
        self._measure(len(ended), seconds)
        if self._observer is not None:
            self._observer.stepped(active, seconds)
            if ended:
                self._observer.ended(len(ended))

    def _drop_ended(self, engine: SearchEngine, share: Share) -> None:
        if self._ended:
            with self._wake:
                self._ended = False
                for job in [job for job in self._jobs if job.future.done()]:
                    self._jobs.remove(job)
                    self._waiting -= len(job.unsent)
        for key in [key for key, job in share.inside.items() if job.future.done()]:
            del share.inside[key]
            engine.cancel(key)

    def _feed(self, engine: SearchEngine, share: Share) -> None:
        """Fill free rows with one segment per job in turn, so that a long document does not delay other requests."""
        outcomes: list[tuple[Job, Outcome]] = []
        with self._wake:
            # Not more than an even share of what there is, so that no thread is idle while another has many segments.
            most = math.ceil((self._waiting + self.active) / len(self._shares))
            while self._jobs and engine.load < self._rows and len(share.inside) < most:
                job = self._jobs.popleft()
                if job.future.done():
                    self._waiting -= len(job.unsent)
                    continue
                request = job.unsent.popleft()
                self._waiting -= 1
                if job.unsent:
                    self._jobs.append(job)
                try:
                    engine.add(request)
                except Exception as error:
                    outcomes.append((job, self._failed(error)))
                else:
                    share.inside[request.key] = job
        if outcomes:
            resolve(outcomes)

    def _collect(self, result: SearchResult, share: Share, outcomes: list[tuple[Job, Outcome]]) -> bool:
        """Store one result, and the outcome of a job that it ends; return False if the job has been cancelled."""
        job = share.inside.pop(result.key, None)
        if job is None or job.future.done():
            return False
        if result.error is not None:
            outcomes.append((job, self._failed(result.error)))
            return True
        job.results[result.key] = result
        if len(job.results) == len(job.requests):  # in two threads at once, if need be: the second outcome is ignored
            outcomes.append((job, [job.results[request.key] for request in job.requests]))
        return True

    def _failed(self, error: BaseException) -> EngineFailed:
        """Log an error of the engine and return what its job ends with, since the message may expose internals."""
        log.error("%s: a request failed: %s: %s", self.name, type(error).__name__, error)
        return EngineFailed("the translation failed")

    def _recover(self, engine: SearchEngine, share: Share, error: Exception) -> SearchEngine:
        """After a failed step, fail all jobs in the engine; return the cleared engine, or a new one if that fails."""
        keys = list(share.inside)
        jobs = set(share.inside.values())
        share.inside.clear()
        resolve([(job, self._failed(error)) for job in jobs])
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
            jobs = set(self._jobs)
            for share in self._shares:
                jobs.update(list(share.inside.values()))  # list(): an atomic copy, the thread may change it
            self._jobs.clear()
            self._waiting = 0
            self._wake.notify_all()
        resolve([(job, error) for job in jobs])

    def _measure(self, ended: int, seconds: float) -> None:
        with self._wake:
            self._recent_segments = 0.99 * self._recent_segments + ended
            self._recent_seconds = 0.99 * self._recent_seconds + seconds
