"""What is known of the request that is being answered, for its share of the work, the log and the metrics."""

from __future__ import annotations

import math
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Context:
    """A request. It holds no API key, no text and no query string.

    client: whom the work is done for, "key NAME" or "address ADDRESS"; empty until that is known, and for the service's
    own work. bulk: whether the work may wait for that of others. ends: the deadline, by the event loop's clock.
    reason: why the request was refused, a word of a fixed set (`service.errors`).
    """

    id: str = ""
    client: str = ""
    bulk: bool = False
    ends: float = math.inf
    segments: int = 0
    pieces: int = 0
    reason: str = ""

    def count(self, segments: int, pieces: int) -> None:
        """Count segments that are searched for the request, with their source pieces."""
        self.segments += segments
        self.pieces += pieces


_context: ContextVar[Context | None] = ContextVar("context", default=None)


def current() -> Context:
    """Return the context of the running request, in all its tasks; outside of requests, an empty one."""
    return _context.get() or Context()


def begin(context: Context) -> None:
    """Make this the context of the running task, and of those that it starts."""
    _context.set(context)
