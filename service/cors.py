"""CORS headers on every answer, and 200 for every OPTIONS request (Starlette's middleware handles preflights only)."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Request-ID",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Expose-Headers": "Retry-After, X-Request-ID",
    "Access-Control-Max-Age": "86400",
}


class CORS:
    """Pure ASGI middleware. Credentials are never allowed, so the origin `*` is safe.

    origins: whose pages may use the service, or `*` for all.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str] = ("*",)) -> None:
        self.app = app
        self._origins = frozenset(origins)

    def headers(self, origin: str | None) -> dict[str, str]:
        """Return the headers of an answer to a page of this origin."""
        if "*" in self._origins:
            return {**HEADERS, "Access-Control-Allow-Origin": "*"}
        if origin in self._origins:
            return {**HEADERS, "Access-Control-Allow-Origin": str(origin), "Vary": "Origin"}
        return {"Vary": "Origin"} if self._origins else {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = self.headers(Headers(scope=scope).get("origin"))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        if scope["method"] == "OPTIONS":
            await Response(status_code=200)(scope, receive, with_headers)
        else:
            await self.app(scope, receive, with_headers)
