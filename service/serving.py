"""What every request with a body goes through: early refusal, reading, key, limits, deadline, a client that leaves."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from service import limits, schemas
from service.body import Fields, read_fields
from service.context import current
from service.errors import BadRequest, DeadlineExceeded, EngineFailed, Forbidden, ServiceError, TooSlow, Unavailable
from service.lifecycle import Service
from service.models import Models
from service.tracking import REQUEST_ID, new_id

log = logging.getLogger("service")

T = TypeVar("T")
CLIENT_GONE = 499  # never reaches the client; it marks these requests in the metrics


def service_of(request: Request) -> Service:
    """Return the service of the request's application."""
    service: Service = request.app.state.service
    return service


async def served(
    request: Request,
    work: Callable[[Request, Fields, Models], Awaitable[Any]],
    most_bytes: int | None = None,
    *,
    early: bool = False,
) -> Response:
    """Read the fields of a request and answer with what ``work`` returns, within the deadline; refuse ``early``."""
    service = service_of(request)
    settings = service.settings
    state = request.app.state
    ends = current().ends = asyncio.get_running_loop().time() + settings.timeout_s
    state.open_requests += 1
    try:
        if early:
            refuse_early(request.app, request.client.host if request.client else "unknown")
        try:
            async with asyncio.timeout_at(ends):
                fields = await read_fields(request, most_bytes or settings.max_body_bytes, state.bodies)
        except TimeoutError:
            raise TooSlow(f"the body did not arrive within {settings.timeout_s:g} seconds") from None
        try:
            with service.require().held() as models:
                async with asyncio.timeout_at(ends):
                    answer = await _while_connected(request, work(request, fields, models))
                    return answer if isinstance(answer, Response) else JSONResponse(answer)
        except TimeoutError:
            raise DeadlineExceeded(f"not translated within {settings.timeout_s:g} seconds") from None
    except ClientDisconnect:
        return Response(status_code=CLIENT_GONE)
    finally:
        state.open_requests -= 1


def refusal(app: FastAPI, host: str, deadline_s: float) -> bytes | None:
    """Return the bytes of the answer to a request from this address that is refused before it is read; None if not."""
    service: Service = app.state.service
    try:
        refuse_early(app, host, deadline_s)
    except Unavailable as error:
        if error.closing:
            return None  # the application closes the connection, too
        service.metrics.requests.labels("/translate", "POST", str(error.status)).inc()
        service.metrics.refused(error.reason)
        body = JSONResponse({"error": str(error)}).body
        lines = [f"{name}: {value}" for name, value in {**error.headers(), REQUEST_ID: new_id()}.items()]
        head = ["HTTP/1.1 503 Service Unavailable", "Content-Type: application/json", *lines]
        return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + bytes(body)
    return None


def refuse_early(app: FastAPI, host: str, deadline_s: float = math.inf) -> None:
    """Raise Unavailable, before the body is read, if each model would refuse even a short text of this client.

    So a flood of requests leaves the event loop time for those that are accepted. Where keys are in use, the client is
    known only after the body, and this is for one who has sent nothing yet.
    """
    state = app.state
    models: Models = state.service.require()
    if state.open_requests > state.most_requests:
        raise Unavailable("too many requests are on the way, try again later", reason="requests_full")
    refused: Unavailable | None = None
    client = "" if state.keys.required else f"address {limits.address_of(host)}"
    for file in models.files.values():
        if file.model is None:  # loaded at its first request: it has none that others would wait for
            return
        try:
            return file.model.worker.check(client, deadline_s)
        except Unavailable as error:
            refused = error
    if refused is not None:
        raise refused


def _address(request: Request) -> str:
    return f"address {limits.address_of(request.client.host) if request.client else 'unknown'}"


def admit(request: Request, fields: Fields) -> schemas.RequestLimits:
    """Check the rate limit, then the key; return the limits of the caller's request."""
    settings, state = service_of(request).settings, request.app.state
    given = schemas.api_key(fields, request.headers.get("authorization"))
    key = state.keys.find(given)
    context = current()
    context.client = f"key {key.name}" if key else _address(request)
    context.bulk = key is not None and key.bulk
    state.limiter.spend(context.client, schemas.cost(fields), key.limits(state.rates) if key else state.rates)
    if key is None and state.keys.required:
        if given is None:
            raise BadRequest("Please contact the server operator to get an API key", reason="no_key")
        raise Forbidden("Invalid API key")
    return schemas.RequestLimits(
        settings.max_characters, settings.max_batch, settings.max_alternatives, settings.max_beam
    )


def note_texts(request: Request, texts: Sequence[str]) -> None:
    """Keep the texts of a request for its line of the log, if the settings ask for them."""
    if service_of(request).settings.log_texts:
        current().texts = texts


async def _while_connected(request: Request, work: Awaitable[T]) -> T:
    """Return the result of ``work``. If the client disconnects, cancel it and raise ClientDisconnect."""
    working = asyncio.current_task()
    assert working is not None
    gone = False

    async def listen() -> None:
        """Wait until the client disconnects. Its body must have been read to the end."""
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        working.cancel()

    listening = asyncio.create_task(listen())
    try:
        return await work
    except asyncio.CancelledError:
        if gone and not working.uncancel():  # else something else has cancelled it too: the deadline, the server's end
            raise ClientDisconnect from None
        raise
    except ServiceError:
        raise
    except Exception:
        log.exception("a translation failed")
        raise EngineFailed("the translation failed") from None
    finally:
        listening.cancel()
