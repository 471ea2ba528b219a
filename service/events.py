"""An answer as server-sent events: a long text, piece by piece as it is translated.

Each event has one line of JSON. Events without a name are the parts of the answer; `end` has the rest of it, and
`error` the error that ended it early. Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from typing import Any

from starlette.responses import StreamingResponse

from service.errors import DeadlineExceeded, EngineFailed, ServiceError

log = logging.getLogger("service")

Parts = AsyncGenerator[dict[str, Any]]
MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # the latter for nginx, which would collect it


def event(data: dict[str, Any], name: str = "") -> bytes:
    """Return an event."""
    named = f"event: {name}\n" if name else ""
    return f"{named}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


async def answer_events(parts: Parts, ends: float) -> StreamingResponse:
    """Answer with parts, of which the last is the rest; ``ends`` is the deadline, in the time of the event loop.

    Waits for the first part, so that what goes wrong before it is answered with a status. Raises ServiceError.
    When the client disconnects, Starlette cancels the response, and with it the work on the parts.
    """
    first = await _next(parts, ends)
    return StreamingResponse(_events(first, parts, ends), headers=HEADERS, media_type=MEDIA_TYPE)


async def _events(first: dict[str, Any] | None, parts: Parts, ends: float) -> AsyncGenerator[bytes]:
    part = first
    try:
        while part is not None:
            yield event(part, "" if "translatedText" in part else "end")
            part = await _next(parts, ends)
    except ServiceError as error:
        yield event({"error": str(error), "status": error.status}, "error")
    except Exception:
        log.exception("a translation failed")
        yield event({"error": "the translation failed", "status": EngineFailed.status}, "error")
    finally:
        await parts.aclose()


async def _next(parts: Parts, ends: float) -> dict[str, Any] | None:
    """Return the next part, None after the last. Raises ServiceError."""
    try:
        async with asyncio.timeout_at(ends):
            return await anext(parts, None)
    except TimeoutError:
        raise DeadlineExceeded("not translated within the time of the request") from None
