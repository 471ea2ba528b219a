"""What happens around every request: its id and context, its metrics, its line of the log, its span."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.context import Context, begin
from service.metrics import Metrics
from service.tracing import Tracer

log = logging.getLogger("service.tracking")

REQUEST_ID = "X-Request-ID"
requests = logging.getLogger("service.requests")

SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = ("GET", "POST", "OPTIONS", "HEAD")


def new_id() -> str:
    """Return an id for a request."""
    return secrets.token_hex(8)


class Tracking:
    """Pure ASGI middleware, because Starlette's BaseHTTPMiddleware hides a client's disconnect.

    log_requests: whether each request gets a line of the log. It has no key, no query string and, unless the context
    was given texts, no text.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        *,
        log_requests: bool = False,
        tracer: Tracer | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.log_requests = log_requests
        self.tracer = tracer
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = self.clock()
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID, "")
        context = Context(given if SANE_ID.fullmatch(given) else new_id())
        begin(context)
        status = 0

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = context.id
            await send(message)

        try:
            await self.app(scope, receive, note_status)
        except Exception:  # unexpected: the answer exposes no internals
            if status:
                raise
            log.exception("a request failed")
            await JSONResponse({"error": "Internal server error"}, 500)(scope, receive, note_status)
        finally:
            # The route's pattern, not the path: a client could fill the memory with label values.
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in METHODS else "other"
            seconds = self.clock() - began
            self.metrics.responded(route, method, status or 500, seconds)
            if self.log_requests:
                log_request(context, route, method, status or 500, seconds)
            if self.tracer is not None:
                self.tracer.record(headers, context, route, method, status or 500, seconds)


def log_request(context: Context, route: str, method: str, status: int, seconds: float) -> None:
    """Write the line of a request."""
    fields = {
        "route": route,
        "method": method,
        "status": status,
        "ms": round(1000 * seconds, 1),
        "segments": context.segments,
        "pieces": context.pieces,
        **({"client": context.client} if context.client else {}),
        **({"reason": context.reason} if context.reason else {}),
        **({"texts": context.texts} if context.texts else {}),
    }
    requests.info("answered", extra={"fields": fields})
