"""Which requests a worker accepts: those for which there is room in its queue, and the time to translate them."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.context import Context
from service.errors import Unavailable
from service.jobs import BULK, LARGE, LARGE_PIECES, LARGE_SEGMENTS, SMALL, Flow, Queue
from service.speed import Speed

MARGIN = 1.5  # a request is accepted if its predicted time, so many times, is within its deadline
SLACK = 1.1  # the flows are due at so much less than the measured speed, so that errors of it do not add up


@dataclass(frozen=True)
class Plan:
    """When the pieces of a job are due: the first at ``begins``, the others ``pace`` seconds after each other."""

    client: str
    flow: Flow
    segments: int
    pieces: int
    now: float
    begins: float
    pace: float
    ends: float  # deadline of the job


class Admission:
    """Decides by the queue, the measured speed, and the pieces that wait or are in the engines.

    capacity: largest number of segments that may wait. timeout_s: seconds from the arrival of a request to its
    deadline. active_pieces: returns the source pieces in the engines. lock: guards the queue; reentrant.
    """

    def __init__(
        self,
        queue: Queue,
        speed: Speed,
        active_pieces: Callable[[], int],
        *,
        capacity: int,
        timeout_s: float,
        lock: threading.Condition,
        clock: Callable[[], float],
    ) -> None:
        self._reserved: Counter[str] = Counter()  # texts that are still being prepared, by client
        self._reserved_pieces = 0  # an estimate of theirs
        self._queue = queue
        self._speed = speed
        self._active_pieces = active_pieces
        self._capacity = capacity
        self._timeout_s = timeout_s
        self._lock = lock
        self._clock = clock

    @property
    def reserved(self) -> int:
        """Number of texts that are being prepared."""
        return self._reserved.total()

    @property
    def waiting(self) -> int:
        """Number of segments without a slot, including those in preparation."""
        return self._queue.segments + self.reserved

    @property
    def waiting_pieces(self) -> int:
        """Their source pieces; of those in preparation, an estimate."""
        return self._queue.pieces + self._reserved_pieces

    @contextmanager
    def reserve(self, segments: int, pieces: int, asking: Context) -> Iterator[None]:
        """Reserve room for about so many segments and pieces of a request. Raises Unavailable as `admit` does."""
        plan = self.plan(segments, pieces, asking)
        if not asking.segments:  # else it was accepted before: this is its way through a third language, for example
            self.admit(plan)
        self._reserved[plan.client] += segments
        self._reserved_pieces += pieces
        try:
            yield
        finally:
            self._reserved[plan.client] -= segments
            self._reserved_pieces -= pieces
            self._reserved += Counter()  # drops the zeros

    def plan(self, segments: int, pieces: int, asking: Context) -> Plan:
        """Return when a job is due that comes now: after the others of its flow, at the flow's share of the speed."""
        now = self._clock()
        ends = min(asking.ends, now + self._timeout_s)
        weight = SMALL if segments < LARGE_SEGMENTS and pieces < LARGE_PIECES else LARGE
        weight = BULK if asking.bulk else weight
        with self._lock:
            flow = self._queue.flow(asking.client, weight)
            others = self._queue.weight - (weight if flow.segments else 0.0)
            if weight < SMALL:
                others = max(others, SMALL)  # which may come later
            half = self._timeout_s / 2  # and not of its own deadline: a short one must not give a client more speed
            pace = max(1e-9, min(self._pace(weight / (weight + others)), half / max(1, pieces)))
            begins = max(now, min(flow.ends, now + half - pieces * pace))
        return Plan(asking.client, flow, segments, pieces, now, begins, pace, ends)

    def _pace(self, share: float) -> float:
        """Return the seconds a piece for a flow with a share of the speed; a guess as long as that is not measured."""
        speed = share * self._speed.pieces_a_second / SLACK
        return 1.0 / speed if speed else 1.0 - share

    def admit(self, plan: Plan) -> None:
        """Raise Unavailable if there is no room for so much more, or not the time to translate it."""
        if not self.waiting and not self._active_pieces():
            return  # even if it is larger than the queue or predicted to be late: nothing better will come
        speed = self._speed.pieces_a_second
        with self._lock:
            own = plan.flow.segments + self._reserved[plan.client]
            sharing = len(self._queue.flows()) + (not plan.flow.segments)
        # The queue belongs to one flow only as long as no other one waits.
        over = own + plan.segments - self._capacity / sharing
        if self.waiting and self.waiting + plan.segments > self._capacity and over > 0:
            a_segment = self.waiting_pieces / self.waiting
            freed = over * sharing * a_segment / speed if speed else 1.0
            raise Unavailable("the queue is full, try again later", retry_after=_whole(freed), reason="queue_full")
        late = MARGIN * self.predict(plan) - (plan.ends - plan.now)
        if late > 0.0:
            text = f"not to be translated within {plan.ends - plan.now:.2g} seconds at present, try again later"
            raise Unavailable(text, retry_after=_whole(late), reason="no_time")

    def predict(self, plan: Plan) -> float:
        """Return the seconds in which a job would be finished; 0 if that is unknown."""
        speed = self._speed.pieces_a_second
        if not speed:
            return 0.0
        last = plan.begins + plan.pieces * plan.pace
        with self._lock:
            waiting = sum(flow.due_until(last) for flow in self._queue.flows())
        ahead = self._active_pieces() + self._reserved_pieces + waiting
        alone = self._speed.seconds_inside * plan.pieces / max(1, plan.segments)
        return max(alone, (ahead + plan.pieces) / speed)


def _whole(seconds: float) -> int:
    """Return whole seconds for Retry-After, from 1 to an hour."""
    return max(1, min(3600, math.ceil(seconds)))
