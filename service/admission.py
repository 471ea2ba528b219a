"""Which requests a worker accepts: those for which there is room in its queue, and the time to translate them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import Unavailable
from service.jobs import Queue
from service.speed import Speed

MARGIN = 1.5  # a request is accepted if its predicted time, so many times, is within its deadline


class Admission:
    """Decides by the queue, the measured speed, and the pieces that wait or are in the engines.

    capacity: largest number of segments that may wait. timeout_s: seconds from the arrival of a request to its
    deadline. active_pieces: returns the source pieces in the engines. lock: guards the queue.
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
        self.reserved = 0  # texts that are still being prepared
        self._reserved_pieces = 0  # an estimate of theirs
        self._queue = queue
        self._speed = speed
        self._active_pieces = active_pieces
        self._capacity = capacity
        self._timeout_s = timeout_s
        self._lock = lock
        self._clock = clock

    @property
    def waiting(self) -> int:
        """Number of segments without a slot, including those in preparation."""
        return self._queue.segments + self.reserved

    @contextmanager
    def reserve(self, segments: int, pieces: int) -> Iterator[None]:
        """Reserve room for about so many segments and pieces. Raises Unavailable as `admit` does."""
        self.admit(segments, pieces)
        self.reserved += segments
        self._reserved_pieces += pieces
        try:
            yield
        finally:
            self.reserved -= segments
            self._reserved_pieces -= pieces

    def admit(self, segments: int, pieces: int) -> None:
        """Raise Unavailable if there is no room for so much more, or not the time to translate it."""
        # When nothing waits, even a request larger than the queue is accepted: it could never be served otherwise. One
        # that has filled the queue leaves their share of it to the others, an equal one for each.
        sharing = len(self._queue) + bool(self.reserved) + 1
        if self.waiting and self.waiting + segments > self._capacity < segments * sharing:
            speed, all_pieces = self._speed.pieces_a_second, self._queue.pieces + self._reserved_pieces
            freed = (self.waiting + segments - self._capacity) * all_pieces / self.waiting / speed if speed else 1.0
            raise Unavailable("the queue is full, try again later", retry_after=_whole(freed))
        late = MARGIN * self.predict(pieces) - self._timeout_s if self.waiting else 0.0
        if late > 0.0:
            text = f"not to be translated within {self._timeout_s:g} seconds at present, try again later"
            raise Unavailable(text, retry_after=_whole(late))

    def predict(self, pieces: int) -> float:
        """Return the seconds in which a request of so many pieces would be finished; 0 if that is unknown."""
        speed = self._speed.pieces_a_second
        if not speed:
            return 0.0
        ahead = self._queue.pieces + self._reserved_pieces + self._active_pieces()
        if MARGIN * (ahead + pieces) > self._timeout_s * speed and self._queue.large:
            last = self._clock() + pieces * self.pace(pieces)
            with self._lock:
                ahead -= sum(job.left - int(job.due_until(last)) for job in self._queue.large)
        return (ahead + pieces) / speed

    def pace(self, pieces: int) -> float:
        """Return the seconds a piece for a job: it has half of the engines, and more if its deadline asks for it."""
        speed = self._speed.pieces_a_second
        half = 2.0 / speed if speed else 1.0
        return max(1e-9, min(half, self._timeout_s / 2.0 / max(1, pieces)))


def _whole(seconds: float) -> int:
    """Return whole seconds for Retry-After, from 1 to an hour."""
    return max(1, min(3600, math.ceil(seconds)))
