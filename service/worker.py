"""The threads that own the search engines of a model and translate the segments of all requests together.

The asyncio side submits all segments of one HTTP request as one job and awaits its future. Each thread has an engine of
its own, which only it uses, and takes segments from the one queue of jobs. A job is cancelled by ending its future,
which happens when the client disconnects or the deadline passes: its waiting segments are dropped, and those in an
engine are removed before its next step. Every future ends with results or with an error, whatever happens to an engine
or to a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from service.admission import Admission
from service.context import Context, current
from service.errors import EngineFailed, ServiceError, Unavailable
from service.interfaces import Observer, SearchEngine, SearchRequest, SearchResult
from service.jobs import Inside, Job, Outcome, Queue, Share, resolve
from service.speed import Speed

log = logging.getLogger("service.worker")

A_SENTENCE = 16  # pieces
NICE = 3  # by how much the engines' threads give way to the event loop
RESTARTS = 3  # how often a worker replaces an engine whose thread ended, before it is given up


class Worker:
    """Run engines, each in a thread of its own.

    make_engine: builds an engine, in its thread; called again if a failed engine cannot be cleared.
    rows: an engine is given segments until its load is a quarter larger; the others wait here, where they can be
    dropped at no cost.
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
        self._observer = observer
        self._clock = clock
        self._wake = threading.Condition()
        self._queue = Queue()
        self._speed = Speed(engines)
        self._admission = Admission(
            self._queue, self._speed, self._active_pieces, capacity=capacity, timeout_s=timeout_s, lock=self._wake,
            clock=clock,
        )  # fmt: skip
        self._ended = False  # whether a job ended early, so that some of its segments may still wait
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
        return self._admission.reserved

    @property
    def waiting(self) -> int:
        """Number of segments without a slot, including those in preparation."""
        return self._admission.waiting

    @property
    def active(self) -> int:
        """Number of segments in the engines."""
        return sum(len(share.inside) for share in self._shares)

    @property
    def waiting_pieces(self) -> int:
        """Source pieces of the segments without a slot; of those in preparation, an estimate."""
        return self._admission.waiting_pieces

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
        return self._speed.pieces_a_second

    def forget_speed(self) -> None:
        """Begin to measure anew: the first calls of a model, in which torch compiles it, say nothing."""
        self._speed.forget()

    def check(self, client: str, deadline_s: float = math.inf) -> None:
        """Raise Unavailable if not even a sentence of a client with this deadline would be accepted."""
        self._admission.admit(
            self._admission.plan(1, A_SENTENCE, Context(client=client, ends=self._clock() + deadline_s))
        )

    def reserve(self, segments: int, pieces: int) -> AbstractContextManager[None]:
        """Reserve room in the queue while the text of the running request is prepared, of about so many pieces.

        Raises Unavailable if the queue is full, or so long that the request would hardly be answered in time.
        """
        return self._admission.reserve(segments, pieces, current())

    def predict(self, pieces: int) -> float:
        """Return the seconds in which a request of so many pieces would be finished; 0 if that is unknown."""
        return self._admission.predict(self._admission.plan(1, pieces, current()))

    def submit(
        self,
        requests: Sequence[SearchRequest],
        *,
        accepted: bool = False,
        each: Callable[[Any], None] | None = None,
    ) -> asyncio.Future[list[Any]]:
        """Queue segments of the running request; return a future of their results, in order. ``each`` gets them first.

        The future raises ServiceError. Raises Unavailable as `reserve` does, unless the request was ``accepted`` before
        or has had other segments, or if the worker has stopped.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Any]] = loop.create_future()
        if not requests:
            future.set_result([])
            return future
        asking = current()
        pieces = sum(len(request.src) for request in requests)
        with self._wake:
            if self._stopping or self.failure is not None:
                raise Unavailable("the translation worker has stopped", closing=True)
            plan = self._admission.plan(len(requests), pieces, asking)
            if not accepted and not asking.segments:  # of a request that was accepted before
                self._admission.admit(plan)
            job = Job(requests, future, loop, plan.flow, plan.begins, plan.pace, plan.now, deque(requests), each=each)
            self._queue.add(job)
            self._wake.notify(len(requests))
        asking.count(len(requests), pieces)
        future.add_done_callback(self._nudge)
        return future

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

    def _active_pieces(self) -> int:
        return sum(share.pieces for share in self._shares)

    def _nudge(self, future: asyncio.Future[list[Any]]) -> None:
        if future.cancelled() or future.exception() is not None:
            with self._wake:
                self._ended = True
                self._wake.notify_all()

    # --- the threads --------------------------------------------------------------------------------------------

    def _run(self, number: int) -> None:
        share = self._shares[number]
        yield_to_event_loop()
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
            while not self._queue and not share.inside:
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
        active, share.rows = len(share.inside), engine.load
        engine.step()
        outcomes: list[tuple[Job, Outcome]] = []
        results = engine.finished()
        ended = [segment for result in results if (segment := self._collect(result, share, outcomes))]
        if outcomes:
            resolve(outcomes)
        now = self._clock()
        share.began = None
        pieces = sum(segment.pieces for segment in ended)
        self._speed.add(pieces, now - began, sum(now - segment.since for segment in ended))
        if self._observer is not None:
            self._observer.stepped(active, share.rows, now - began)
            if ended:
                self._observer.ended(len(ended), pieces, sum(map(_length, results)))
        if not share.inside:
            share.rows = 0

    def _drop_ended(self, engine: SearchEngine, share: Share) -> None:
        if self._ended:
            with self._wake:
                self._ended = False
                self._queue.drop_ended()
        for key in [key for key, segment in share.inside.items() if segment.job.ended]:
            share.take(key)
            engine.cancel(key)

    def _feed(self, engine: SearchEngine, share: Share) -> None:
        """Fill free rows with the segments that are due first, so that a long document does not delay the others."""
        outcomes: list[tuple[Job, Outcome]] = []
        with self._wake:
            # Not more than an even share of what there is, so that no thread is idle while another has many segments.
            most = math.ceil((self._queue.segments + self.active) / len(self._shares))
            now = self._clock()
            # Some more than are decoded, so that they can join in groups, of similar length.
            while (load := engine.load) < self._rows + self._rows // 4 and len(share.inside) < most:
                taken = self._queue.take(now, load / self._rows)
                if taken is None:
                    break
                job, request = taken
                if self._observer is not None and len(job.unsent) == len(job.requests) - 1:
                    self._observer.started(now - job.began)
                share.put(request, job, now)
                try:
                    engine.add(request)
                except Exception as error:
                    share.take(request.key)
                    outcomes.append((job, self._failed(error)))
        if outcomes:
            resolve(outcomes)

    def _collect(self, result: SearchResult, share: Share, outcomes: list[tuple[Job, Outcome]]) -> Inside | None:
        """Store one result, and the outcome of a job that it ends; return None if the job has been cancelled."""
        segment = share.take(result.key)
        if segment is None or segment.job.ended:
            return None
        job = segment.job
        if result.error is not None:
            outcomes.append((job, self._failed(result.error)))
            return segment
        job.results[result.key] = result
        if job.each is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                job.loop.call_soon_threadsafe(job.each, result)
        if len(job.results) == len(job.requests):  # in two threads at once, if need be: the second outcome is ignored
            outcomes.append((job, [job.results[request.key] for request in job.requests]))
            if self._observer is not None:
                self._observer.answered(self._clock() - job.began)
        return segment

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
            jobs = self._queue.clear()
            for share in self._shares:
                jobs.update(
                    segment.job for segment in list(share.inside.values())
                )  # list(): atomic, a thread may change it
            self._wake.notify_all()
        resolve([(job, error) for job in jobs])


def yield_to_event_loop() -> None:
    """Let the event loop run before the calling thread where both can: it has less to do, and clients wait for it.

    On Linux priorities are those of threads. Elsewhere, and where that is forbidden, nothing happens.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICE)


def _length(result: SearchResult) -> int:
    """Return the pieces of a result's best hypothesis."""
    return len(result.hypotheses[0].token_log_probs) if result.hypotheses else 0
