"""The speed of a worker's engines, measured while they work."""

from __future__ import annotations

import math
import threading

MEMORY_S = 3.0  # seconds of an engine's work after which a measurement of its speed counts for a third


class Speed:
    """Source pieces that engines translate in a second, from what they report. May be used by several threads."""

    def __init__(self, engines: int) -> None:
        self._engines = engines
        self._lock = threading.Lock()
        # Exponentially decaying sums over the engines' rounds; their quotient is the speed of one engine.
        self._pieces = 0.0
        self._seconds = 0.0
        self._inside = 0.0

    def add(self, pieces: int, seconds: float, inside: float) -> None:
        """Add one round of an engine: the source pieces that it finished, its time, and how long these were inside."""
        keep = math.exp(-seconds / MEMORY_S)
        with self._lock:
            self._pieces = keep * self._pieces + pieces
            self._seconds = keep * self._seconds + seconds
            self._inside = keep * self._inside + inside

    def forget(self) -> None:
        """Begin to measure anew."""
        with self._lock:
            self._pieces = self._seconds = self._inside = 0.0

    @property
    def pieces_a_second(self) -> float:
        """Speed of all engines together; 0 before the first measurement."""
        return self._engines * self._pieces / self._seconds if self._pieces else 0.0

    @property
    def seconds_inside(self) -> float:
        """Seconds that a segment is in an engine, for each of its pieces; 0 before the first measurement."""
        return self._inside / self._pieces if self._pieces else 0.0
