"""Reading the fields of a request: JSON, urlencoded or multipart form, or query string, up to a limit of bytes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import python_multipart  # noqa: F401  # without it Starlette's parser fails, but only at the first multipart form
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from service.connections import ByteBudget
from service.errors import BadRequest, TooLarge, Unavailable

Fields = Mapping[str, object]
_ESCAPES = re.compile(rb"(?:%[0-9a-fA-F]{2})+")
LINGER_S, LINGER_BYTES = 2.0, 64 * 1024 * 1024
CHUNK_BYTES = 16 * 1024
LARGE_BYTES = 64 * 1024  # of a form, which may take a tenth of a microsecond a byte, that is read in a thread
MOST_FIELDS = 1000
MOST_BRACKETS = 200_000  # of JSON, also those in texts; twice the characters that are allowed by default
MALFORMED = "Invalid JSON format"


async def read_body(request: Request, limit: int, budget: ByteBudget) -> bytes:
    """Return the body.

    Raises TooLarge as soon as more than ``limit`` bytes are announced or received, and Unavailable if ``budget``, which
    all bodies on the way share, is used up.
    """
    too_large = TooLarge(f"Invalid request: the body is larger than {limit} bytes")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            if len(body) + len(chunk) > limit:
                raise too_large
            if not budget.take(len(chunk)):
                text = "too many request bodies are on the way, try again later"
                raise Unavailable(text, closing=True, reason="bodies_full")
            body += chunk
        return bytes(body)
    finally:
        budget.give_back(len(body))


class Lingering(JSONResponse):
    """An answer before the end of the request's body: the rest of the body is read and dropped, within bounds.

    If the connection were closed at once, the system would reset it while the client still sends, and most clients
    would report the reset and not the answer.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        left = LINGER_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while left > 0 and (message := await receive()).get("more_body"):
                    left -= len(message["body"])
        await send({"type": "http.response.body", "body": b""})


async def read_fields(request: Request, limit: int, budget: ByteBudget) -> Fields:
    """Return the fields of a request.

    With a JSON body the query string is ignored. A form gives the first value of each field; the query string takes
    precedence over it. Raises BadRequest for a malformed body, TooLarge, Unavailable, and ClientDisconnect.
    """
    body = await read_body(request, limit, budget)
    kind = content_type(request.headers)
    if is_json(kind):
        return parse_json(body)
    if kind == "multipart/form-data":
        form = await parse_multipart(request.headers, body, limit)
    elif kind in ("", "application/x-www-form-urlencoded"):
        form = await asyncio.to_thread(parse_form, body) if len(body) > LARGE_BYTES else parse_form(body)
    else:
        form = {}
    return {**form, **parse_form(request.url.query.encode("latin-1"))}


def content_type(headers: Headers) -> str:
    """Return the media type in lower case, without parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    """Return True for application/json and application/<anything>+json."""
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def parse_json(body: bytes) -> Fields:
    """Parse a JSON object. Raises BadRequest for anything else."""
    if body.count(b"[") + body.count(b"{") > MOST_BRACKETS:
        raise BadRequest("Invalid request: the JSON has too many brackets")
    try:
        with no_collection():
            value = json.loads(body)
    except (ValueError, RecursionError):  # malformed, not UTF-8, thousands of digits, nested too deeply
        raise BadRequest(MALFORMED) from None
    if not isinstance(value, dict):
        raise BadRequest(MALFORMED)
    return value


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector from running: two megabytes of `[]` would make it run for ten times their parsing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def parse_form(body: bytes) -> dict[str, object]:
    """Parse an urlencoded form or a query string; the first value of each field counts. Raises BadRequest."""
    try:
        if body.count(b"&") >= MOST_FIELDS:
            raise ValueError
        pairs = (field.partition(b"=") for field in body.split(b"&") if field)
        return _first([(_unquote(name), _unquote(value)) for name, _, value in pairs])
    except ValueError:  # also UnicodeDecodeError
        raise BadRequest("Invalid request: the form is not valid urlencoded UTF-8") from None


def _unquote(text: bytes) -> str:
    """Decode a name or value; Python's own function takes a second for two megabytes of `%`."""
    plain = _ESCAPES.sub(lambda found: bytes.fromhex(found[0].replace(b"%", b"").decode()), text.replace(b"+", b" "))
    return plain.decode()


class InMemory(MultiPartParser):
    """A parser that writes no file to a folder for temporary ones; the body was in memory as a whole."""

    spool_max_size = 1 << 40


@dataclass(frozen=True)
class Upload:
    """A file of a multipart form, as the value of its field."""

    name: str
    content: bytes


async def parse_multipart(headers: Headers, body: bytes, limit: int) -> dict[str, object]:
    """Parse a multipart form; the first value of each field counts. Raises BadRequest."""

    async def whole() -> AsyncGenerator[bytes, None]:
        for begin in range(0, len(body), CHUNK_BYTES):
            yield body[begin : begin + CHUNK_BYTES]
            await asyncio.sleep(0)  # the parser may take microseconds a byte
        yield b""

    parser = InMemory(headers, whole(), max_files=8, max_fields=MOST_FIELDS, max_part_size=limit)
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, KeyError):
        raise BadRequest("Invalid request: the multipart form cannot be read") from None
    fields = _first([(name, value) for name, value in form.multi_items() if isinstance(value, str)])
    for name, value in form.multi_items():
        if not isinstance(value, str):
            fields.setdefault(name, Upload(value.filename or "", await value.read()))
    await form.close()
    return fields


def _first(pairs: list[tuple[str, str]]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in pairs:
        fields.setdefault(name, value.replace("\r\n", "\n").replace("\r", "\n"))
    return fields
