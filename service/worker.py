"""The threads that own the search engines of a model and translate the segments of all requests together.

The asyncio side submits all segments of one HTTP request as one job and awaits its future. Each thread has an engine of
its own, which only it uses, and takes segments from the one queue of jobs. A job is cancelled by ending its future,
which happens when the client disconnects or the deadline passes: its waiting segments are dropped, and those in an
engine are removed before its next step. Every future ends with results or with an error, whatever happens to an engine
or to a thread.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from service import context
from service.errors import EngineFailed, ServiceError, Unavailable

log = logging.getLogger("service.worker")

MARGIN = 1.5  # a request is accepted if its predicted time, so many times, is within its deadline
MEMORY_S = 10.0  # seconds of an engine's work after which a measurement of its speed counts for a third
RESTARTS = 3  # how often a worker replaces an engine whose thread ended, before it is given up
LARGE = 16  # segments of a job from which it is looked at by itself in a prediction


class SearchRequest(Protocol):
    """A request to the engine (nmt.search.engine.Request): a key that is unique in the engine, and source pieces."""

    @property
    def key(self) -> Hashable: ...
    @property
    def src(self) -> Sequence[int]: ...


class SearchResult(Protocol):
    """A result of the engine (nmt.search.engine.Result)."""

    @property
    def key(self) -> Hashable: ...
    @property
    def hypotheses(self) -> Sequence[Any]: ...
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

    def stepped(self, active: int, rows: int, seconds: float) -> None: ...
    def ended(self, segments: int, source_pieces: int, target_pieces: int) -> None: ...
    def started(self, seconds: float) -> None: ...
    def answered(self, seconds: float) -> None: ...
    def restarted(self) -> None: ...


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
    began: float = 0.0  # time of its arrival
    results: dict[Hashable, Any] = field(default_factory=dict)

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


@dataclass(eq=False)
class Share:
    """What one thread translates."""

    thread: threading.Thread
    inside: dict[Hashable, tuple[Job, int]] = field(default_factory=dict)
    """job and pieces of each segment in its engine, by key"""
    pieces: int = 0
    """of all these segments"""
    rows: int = 0
    """of its engine, in use in the last step"""
    began: float | None = None
    """when the round began in which it is; None between rounds"""

    def put(self, request: SearchRequest, job: Job) -> None:
        self.inside[request.key] = job, len(request.src)
        self.pieces += len(request.src)

    def take(self, key: Hashable) -> tuple[Job | None, int]:
        """Remove a segment and return its job and pieces; None and 0 if it is not there."""
        job, pieces = self.inside.pop(key, (None, 0))
        self.pieces -= pieces
        return job, pieces

    def clear(self) -> set[Job]:
        """Remove all segments and return their jobs."""
        jobs = {job for job, _ in self.inside.values()}
        self.inside.clear()
        self.pieces = 0
        return jobs


class Worker:
    """Run engines, each in a thread of its own.

    make_engine: builds an engine, in its thread; called again if a failed engine cannot be cleared.
    rows: an engine is given segments until its load is so large; the others wait here, where they can be dropped at no
    cost.
    capacity: largest number of segments that may wait; beyond it requests are refused. timeout_s: seconds from the
    arrival of a request to its deadline; requests that would hardly be finished by then are refused at once.
    """

    def __init__(
        self,
        make_engine: Callable[[], SearchEngine],
        *,
        rows: int,
        capacity: int,
        timeout_s: float = math.inf,
        engines: int = 1,
        name: str = "worker",
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.failure: str | None = None  # why a thread ended unexpectedly
        self._restarts = 0
        self._make_engine = make_engine
        self._rows = rows
        self._capacity = capacity
        self._timeout_s = timeout_s
        self._observer = observer
        self._clock = clock
        self._wake = threading.Condition()
        self._jobs: list[tuple[float, int, Job]] = []  # heap of the jobs with unsent segments, by the time they are due
        self._serial = itertools.count()
        self._reserved = 0  # texts that are still being prepared
        self._reserved_pieces = 0  # an estimate of theirs
        self._waiting = 0  # unsent segments of all jobs
        self._waiting_pieces = 0
        self._large: set[Job] = set()  # jobs of many segments in `_jobs`
        self._ended = False  # whether a job ended early, so that some of its segments may still wait
        # Exponentially decaying sums over the threads' rounds; their quotient is the speed of one engine.
        self._recent_pieces = 0.0
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

    def hung(self, seconds: float) -> bool:
        """Return whether a round of a thread takes longer than ``seconds``."""
        now = self._clock()
        return any(now - began > seconds for share in self._shares if (began := share.began) is not None)

    def give_up(self, failure: str) -> None:
        """Refuse everything from now on, and end all jobs with an error."""
        self.failure = self.failure or failure
        self._fail_all(EngineFailed(f"the translation worker has stopped: {failure}"))

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

    @property
    def waiting_pieces(self) -> int:
        """Source pieces of the segments without a slot; of those in preparation, an estimate."""
        return self._waiting_pieces + self._reserved_pieces

    @property
    def rows(self) -> int:
        """Number of hypotheses that all engines can extend together."""
        return self._rows * len(self._shares)

    @property
    def rows_in_use(self) -> int:
        """Number of these that were in use in the last steps."""
        return sum(share.rows for share in self._shares)

    @property
    def speed(self) -> float:
        """Source pieces that all engines translate in a second, as measured; 0 before the first measurement."""
        return len(self._shares) * self._recent_pieces / self._recent_seconds if self._recent_pieces else 0.0

    def forget_speed(self) -> None:
        """Begin to measure anew: the first calls of a model, in which torch compiles it, say nothing."""
        self._recent_pieces = self._recent_seconds = 0.0

    @contextmanager
    def reserve(self, segments: int, pieces: int) -> Iterator[None]:
        """Reserve room in the queue while text is prepared, of about so many segments and pieces.

        Raises Unavailable if the queue is full, or so long that the request would hardly be answered in time.
        """
        self._admit(segments, pieces)
        self._reserved += segments
        self._reserved_pieces += pieces
        try:
            yield
        finally:
            self._reserved -= segments
            self._reserved_pieces -= pieces

    def submit(self, requests: Sequence[SearchRequest], *, accepted: bool = False) -> asyncio.Future[list[Any]]:
        """Queue the segments of one request and return a future of their results, in order.

        The future raises ServiceError. Raises Unavailable as `reserve` does, unless the segments are further ones of a
        request ``accepted`` before, or if the worker has stopped.
        """
        loop = asyncio.get_running_loop()
        pieces = sum(len(request.src) for request in requests)
        now = self._clock()
        job = Job(requests, loop.create_future(), loop, now, self._pace(pieces), deque(requests), pieces, now)
        if not requests:
            job.future.set_result([])
            return job.future
        with self._wake:
            if self._stopping or self.failure is not None:
                raise Unavailable("the translation worker has stopped", closing=True)
            if not accepted:
                self._admit(len(requests), pieces)
            self._waiting += len(requests)
            self._waiting_pieces += pieces
            self._queue(job)
            self._wake.notify(len(requests))
        context.current().count(len(requests), pieces)
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
            if share.thread.is_alive() and self.failure is None:  # after a failure it may hang for ever
                share.thread.join(max(0.0, ends - time.monotonic()))
        ended = not any(share.thread.is_alive() for share in self._shares)
        self._fail_all(Unavailable("the service was stopped before this was translated", closing=True))
        return ended

    def abandon(self, error: ServiceError) -> None:
        """End all jobs with an error, when the drain time is over."""
        self._fail_all(error)

    def _admit(self, segments: int, pieces: int) -> None:
        """Raise Unavailable if there is no room for so much more, or not the time to translate it."""
        # When nothing waits, even a request larger than the queue is accepted: it could never be served otherwise. One
        # that has filled the queue leaves their share of it to the others, an equal one for each.
        sharing = len(self._jobs) + bool(self._reserved) + 1
        if self.waiting and self.waiting + segments > self._capacity < segments * sharing:
            speed, all_pieces = self.speed, self._waiting_pieces + self._reserved_pieces
            freed = (self.waiting + segments - self._capacity) * all_pieces / self.waiting / speed if speed else 1.0
            raise Unavailable("the queue is full, try again later", retry_after=_whole(freed), reason="queue_full")
        late = MARGIN * self.predict(pieces) - self._timeout_s if self.waiting else 0.0
        if late > 0.0:
            text = f"not to be translated within {self._timeout_s:g} seconds at present, try again later"
            raise Unavailable(text, retry_after=_whole(late), reason="no_time")

    def predict(self, pieces: int) -> float:
        """Return the seconds in which a request of so many pieces would be finished; 0 if that is unknown."""
        speed = self.speed
        if not speed:
            return 0.0
        ahead = self._waiting_pieces + self._reserved_pieces + self._active_pieces()
        if MARGIN * (ahead + pieces) > self._timeout_s * speed and self._large:
            last = self._clock() + pieces * self._pace(pieces)
            with self._wake:
                ahead -= sum(job.left - int(job.due_until(last)) for job in self._large)
        return (ahead + pieces) / speed

    def _active_pieces(self) -> int:
        return sum(share.pieces for share in self._shares)

    def _pace(self, pieces: int) -> float:
        """Return the seconds a piece for a job: it has half of the engines, and more if its deadline asks for it."""
        half = 2.0 / self.speed if self.speed else 1.0
        return max(1e-9, min(half, self._timeout_s / 2.0 / max(1, pieces)))

    def _queue(self, job: Job) -> None:
        """Put a job with unsent segments into the heap. Called with the lock held."""
        heapq.heappush(self._jobs, (job.due, next(self._serial), job))
        if len(job.unsent) >= LARGE:
            self._large.add(job)
        else:
            self._large.discard(job)

    def _leave(self, job: Job) -> None:
        """Drop the unsent segments of a job that is not in the heap any more. Called with the lock held."""
        self._waiting -= len(job.unsent)
        self._waiting_pieces -= job.left
        self._large.discard(job)

    def _nudge(self, future: asyncio.Future[list[Any]]) -> None:
        if future.cancelled() or future.exception() is not None:
            with self._wake:
                self._ended = True
                self._wake.notify_all()

    # --- the threads --------------------------------------------------------------------------------------------

    def _run(self, number: int) -> None:
        share = self._shares[number]
        while self.failure is None:
            try:
                engine = self._make_engine()
                while self._wait_for_work(share):
                    try:
                        self._round(engine, share)
                    except Exception as error:
                        log.exception("%s: the engine failed", self.name)
                        engine = self._recover(engine, share, error)
                break
            except BaseException as error:  # SystemExit too: what ends a thread must not end the service in silence
                self._replace(share, error)
        if self.failure is not None:  # of this thread, or of another, which leaves none that could be relied on
            self._fail_all(EngineFailed("the translation worker has stopped"))

    def _replace(self, share: Share, error: BaseException) -> None:
        """Fail the jobs in an engine that is lost. Its thread builds another one, unless that happened too often."""
        share.began = None
        with self._wake:
            self._restarts += 1
            if self._restarts > RESTARTS:
                self.failure = f"{type(error).__name__}: {error}"
        log.error("%s: an engine was lost (%d of %d)", self.name, self._restarts, RESTARTS, exc_info=error)
        resolve([(job, self._failed(error)) for job in share.clear()])
        if self.failure is None and self._observer is not None:
            self._observer.restarted()

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
        began = share.began = self._clock()
        self._drop_ended(engine, share)
        self._feed(engine, share)
        if not share.inside:
            share.began = None
            share.rows = 0
            return
        active, rows = len(share.inside), engine.load
        share.rows = rows
        engine.step()
        outcomes: list[tuple[Job, Outcome]] = []
        before = share.pieces
        ended = [result for result in engine.finished() if self._collect(result, share, outcomes)]
        if outcomes:
            resolve(outcomes)
        seconds = self._clock() - began
        share.began = None
        self._measure(before - share.pieces, seconds)
        if self._observer is not None:
            self._observer.stepped(active, rows, seconds)
            if ended:
                self._observer.ended(len(ended), before - share.pieces, sum(map(_length, ended)))
        if not share.inside:
            share.rows = 0

    def _drop_ended(self, engine: SearchEngine, share: Share) -> None:
        if self._ended:
            with self._wake:
                self._ended = False
                for _, _, job in self._jobs:
                    if job.future.done():
                        self._leave(job)
                self._jobs = [entry for entry in self._jobs if not entry[2].future.done()]
                heapq.heapify(self._jobs)
        for key in [key for key, (job, _) in share.inside.items() if job.future.done()]:
            share.take(key)
            engine.cancel(key)

    def _feed(self, engine: SearchEngine, share: Share) -> None:
        """Fill free rows with the segments that are due first, so that a long document does not delay the others."""
        outcomes: list[tuple[Job, Outcome]] = []
        with self._wake:
            # Not more than an even share of what there is, so that no thread is idle while another has many segments.
            most = math.ceil((self._waiting + self.active) / len(self._shares))
            while self._jobs and engine.load < self._rows and len(share.inside) < most:
                _, _, job = heapq.heappop(self._jobs)
                if job.future.done():
                    self._leave(job)
                    continue
                if self._observer is not None and len(job.unsent) == len(job.requests):
                    self._observer.started(self._clock() - job.began)
                request = job.unsent.popleft()
                pieces = len(request.src)
                self._waiting -= 1
                self._waiting_pieces -= pieces
                job.left -= pieces
                job.due += pieces * job.pace
                if job.unsent:
                    self._queue(job)
                share.put(request, job)
                try:
                    engine.add(request)
                except Exception as error:
                    share.take(request.key)
                    outcomes.append((job, self._failed(error)))
        if outcomes:
            resolve(outcomes)

    def _collect(self, result: SearchResult, share: Share, outcomes: list[tuple[Job, Outcome]]) -> bool:
        """Store one result, and the outcome of a job that it ends; return False if the job has been cancelled."""
        job, _ = share.take(result.key)
        if job is None or job.future.done():
            return False
        if result.error is not None:
            outcomes.append((job, self._failed(result.error)))
            return True
        job.results[result.key] = result
        if len(job.results) == len(job.requests):  # in two threads at once, if need be: the second outcome is ignored
            outcomes.append((job, [job.results[request.key] for request in job.requests]))
            if self._observer is not None:
                self._observer.answered(self._clock() - job.began)
        return True

    def _failed(self, error: BaseException) -> EngineFailed:
        """Log an error of the engine and return what its job ends with, since the message may expose internals."""
        log.error("%s: a request failed: %s: %s", self.name, type(error).__name__, error)
        return EngineFailed("the translation failed")

    def _recover(self, engine: SearchEngine, share: Share, error: Exception) -> SearchEngine:
        """After a failed step, fail all jobs in the engine; return the cleared engine, or a new one if that fails."""
        keys = list(share.inside)
        share.began = None
        resolve([(job, self._failed(error)) for job in share.clear()])
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
            jobs = {job for _, _, job in self._jobs}
            for share in self._shares:
                jobs.update(job for job, _ in list(share.inside.values()))  # list(): atomic, the thread may change it
            self._jobs.clear()
            self._large.clear()
            self._waiting = self._waiting_pieces = 0
            self._wake.notify_all()
        resolve([(job, error) for job in jobs])

    def _measure(self, pieces: int, seconds: float) -> None:
        keep = math.exp(-seconds / MEMORY_S)
        with self._wake:
            self._recent_pieces = keep * self._recent_pieces + pieces
            self._recent_seconds = keep * self._recent_seconds + seconds


def _length(result: SearchResult) -> int:
    """Return the pieces of a result's best hypothesis."""
    return len(result.hypotheses[0].token_log_probs) if result.hypotheses else 0


def _whole(seconds: float) -> int:
    """Return whole seconds for Retry-After, from 1 to an hour."""
    return max(1, min(3600, math.ceil(seconds)))
