"""Bounds on connections: how many are open, and how long one may stay open without a request or without reading.

uvicorn bounds neither: clients that connect and send nothing, or half a request, could take all file descriptors.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import resource
import time
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

log = logging.getLogger("service.connections")

SWEEP_S = 0.5
SORT_S = 0.05
TRANSLATE = b"/translate"
DEADLINE = re.compile(rb'"deadline_ms"\s*:\s*(\d{1,9})\b')
MOST_HEAD_BYTES = 256 * 1024  # some clients send their text in the query string
HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
SPARE_FILES = 64  # file descriptors for all else: models, log, event loop


class Connections:
    """The open connections of a server.

    most: largest number. One more, and the connection that has been without a request for longest is closed; if all
    have one, the new one is. idle_s: seconds that a connection may be without a complete request head. busy_s: seconds
    from the head of a request until the client has read its answer. keep_s: those from an answer to the next request.
    """

    def __init__(
        self,
        most: int,
        idle_s: float,
        busy_s: float,
        keep_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most = most
        self._idle_s = idle_s
        self._busy_s = busy_s
        self._keep_s = max(keep_s, idle_s)
        self._clock = clock
        # Both in the order of their times, oldest first. A connection is in one of them.
        self._idle: dict[Connection, float] = {}
        self._busy: dict[Connection, float] = {}
        self._sorted = -math.inf
        self._sweeping = False
        self.refusal: Callable[[str, float], bytes | None] = lambda host, deadline_s: None
        """returns the whole answer to a request for a translation from this address, and with this deadline, if even
        the shortest would be refused; else None"""

    def __len__(self) -> int:
        return len(self._idle) + len(self._busy)

    def protocol(self) -> type[Connection]:
        """Return the class for uvicorn's setting ``http``."""
        return type("Connection", (Connection,), {"all": self})

    def opened(self, connection: Connection) -> None:
        """Add a connection; close one if there are too many."""
        self._idle[connection] = self._clock()
        if len(self) > self.most:
            self._abort(self._longest_idle())
        if not self._sweeping:
            self._sweeping = True
            self._swept = self._clock()
            asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def closed(self, connection: Connection) -> None:
        """Remove a connection."""
        self._idle.pop(connection, None)
        self._busy.pop(connection, None)

    def _longest_idle(self) -> Connection:
        """Return the connection that has been without a request for longest; the new one if all others have one."""
        if self._clock() - self._sorted > SORT_S:  # not for each of very many: it takes time
            self._sort()
        while next(iter(self._idle)).busy:
            connection = next(iter(self._idle))
            del self._idle[connection]
            self._busy[connection] = self._clock()
        return next(iter(self._idle))  # the new one is idle, so there is one

    def _sort(self) -> None:
        """Move each connection that got a request, or has answered it, to where it belongs now."""
        now = self._sorted = self._clock()
        for connection in [one for one in self._idle if one.busy]:
            del self._idle[connection]
            self._busy[connection] = now
        for connection in [one for one in self._busy if not one.busy]:
            del self._busy[connection]
            self._idle[connection] = now

    def _sweep(self) -> None:
        """Close the connections whose time is over; come again while there are any.

        Time in which the process stood still counts for nobody: what was sent meanwhile has not been read yet.
        """
        self._sort()
        now = self._clock()
        still = now - self._swept - SWEEP_S
        self._swept = now
        if still > SWEEP_S:
            for connections in (self._idle, self._busy):
                connections.update({connection: since + still for connection, since in connections.items()})
        late = [one for one, since in self._idle.items() if now - since > (self._keep_s if one.cycle else self._idle_s)]
        late += [one for one, since in self._busy.items() if now - since > self._busy_s]
        for connection in late:
            self._abort(connection)
        self._sweeping = len(self) > 0
        if self._sweeping:
            asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _abort(self, connection: Connection) -> None:
        self.closed(connection)
        connection.transport.abort()


class Connection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's connection, which reports to ``all``."""

    all: Connections
    _refused = False  # whether the body that arrives is that of a refused request
    _held: bytes | None = None  # what has arrived of the body of a request that is not started yet
    _head_bytes: int | None = None  # of a head that is not complete; h11, which has a limit itself, does not count

    @property
    def busy(self) -> bool:
        """Whether a request has arrived whose answer is not complete; its body may still be on the way."""
        return self.cycle is not None and not self.cycle.response_complete

    def on_headers_complete(self) -> None:
        """Start a request whose head has arrived, or hold it. Called by httptools' parser; h11 has no such call.

        In a flood most requests are refused. A tenth of the work of a request leaves the cores to those accepted.
        A request is held until the end of the data that its head came with: short bodies end there, and may name an
        early deadline.
        """
        self._head_bytes = None
        self._refused = False
        if self._is_plain():
            self._held = b""
        else:
            super().on_headers_complete()

    def _refuse_or_start(self, deadline_s: float = math.inf) -> None:
        """Refuse the request that was held, or start it."""
        body, self._held = self._held, None
        answer = self.all.refusal(self.client[0], deadline_s)
        if answer is not None:
            self._refused = True
            self.transport.write(answer)
            return
        super().on_headers_complete()
        if body:
            super().on_body(body)

    def _is_plain(self) -> bool:
        """Whether it is a request for a translation that needs nothing but an answer, on a free connection."""
        return (
            self.url == TRANSLATE
            and self.parser.get_method() == b"POST"
            and self.parser.should_keep_alive()
            and not self.parser.should_upgrade()
            and not self.busy
            and self.client is not None
            and not any(name in (b"origin", b"expect") for name, _ in self.headers)
        )

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, or drop it."""
        if self._held is not None:
            self._held += body
        elif not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of the body."""
        if self._held is not None:
            named = DEADLINE.search(self._held)  # within a text the quotes would be escaped
            self._refuse_or_start(int(named[1]) / 1000 if named else math.inf)
        if not self._refused:
            super().on_message_complete()

    def connection_made(self, transport: Any) -> None:
        """Take the connection."""
        super().connection_made(transport)
        self.all.opened(self)

    def on_message_begin(self) -> None:
        """Begin to count the bytes of the head."""
        self._head_bytes = 0
        super().on_message_begin()

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, unless it makes a head too long: httptools takes one of any length."""
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self.transport.write(HEAD_TOO_LARGE)
                self.transport.close()
                return
        super().data_received(data)
        if self._held is not None and not self.transport.is_closing():  # the rest of the body comes later
            self._refuse_or_start()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.all.closed(self)
        super().connection_lost(exc)


def allow_connections(wanted: int) -> int:
    """Raise the process's limit of open files as far as ``wanted`` connections need; return how many fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - SPARE_FILES))


def report_errors_once_a_second(loop: asyncio.AbstractEventLoop) -> None:
    """Limit the reports of errors outside of requests, such as a failed accept, to one of each kind a second.

    asyncio tries an accept again as often as its backlog is long, each time with a report.
    """
    last: dict[str, float] = {}

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        message = str(context.get("message"))
        now = time.monotonic()
        if now - last.get(message, -1.0) >= 1.0:
            last[message] = now
            loop.default_exception_handler(context)

    loop.set_exception_handler(report)


class OnceASecond(logging.Filter):
    """Lets each message pass once a second at most: a client can provoke a warning with every request."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether it passes; errors always do."""
        message, now = str(record.msg), self._clock()
        passes = record.levelno >= logging.ERROR or now - self._last.get(message, -1.0) >= 1.0
        if passes:
            self._last[message] = now
        return passes


class ByteBudget:
    """Bytes of request bodies that may be held in memory at once."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0

    def take(self, size: int) -> bool:
        """Take ``size`` bytes; return False, with nothing taken, if they are not free."""
        if self.used + size > self.most:
            return False
        self.used += size
        return True

    def give_back(self, size: int) -> None:
        """Give back ``size`` bytes."""
        self.used -= size
