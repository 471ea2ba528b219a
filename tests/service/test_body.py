"""Request bodies: what was sent is read, and any bytes are read or refused."""

from __future__ import annotations

import gc
import json
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_plus, urlencode

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from service.body import Fields, Upload, parse_form, parse_json, parse_multipart
from service.errors import BadRequest

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


def multipart(body: bytes, boundary: str = "b") -> Fields:
    headers = Headers({"content-type": f"multipart/form-data; boundary={boundary}"})
    return anyio.run(parse_multipart, headers, body, 1 << 20)


def unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=5))
def test_json(fields: dict[str, Any]) -> None:
    assert parse_json(json.dumps(fields).encode()) == fields


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, TEXTS), max_size=8))
def test_forms(pairs: list[tuple[str, str]]) -> None:
    first = {name: unix(value) for name, value in reversed(pairs)}
    assert parse_form(urlencode(pairs).encode()) == first


@settings(deadline=None)
@given(st.lists(st.sampled_from(["%", "%4", "41", "%zz", "%c3%a4", "ä", "+", "=", "a"]), max_size=20).map("".join))
@example("%a41")
def test_escapes_are_read_as_python_reads_them(text: str) -> None:
    try:
        expected = unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        with pytest.raises(BadRequest):
            parse_form(f"q={text}".encode())
    else:
        assert parse_form(f"q={text}".encode()) == {"q": expected}


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["q", "source", "ü"]), TEXTS), max_size=5), st.binary(max_size=50))
def test_multipart_forms(pairs: list[tuple[str, str]], content: bytes) -> None:
    boundary = "never-in-the-values-0123456789"
    parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in pairs]
    parts.append(b'name="file"; filename="a.txt"\r\n\r\n' + content)
    lines = b"".join(f"--{boundary}\r\nContent-Disposition: form-data; ".encode() + part + b"\r\n" for part in parts)
    fields = multipart(lines + f"--{boundary}--\r\n".encode(), boundary)
    assert fields == {
        **{name: unix(value) for name, value in reversed(pairs)},
        "file": Upload("a.txt", content),
    }


PIECES = [b"--b", b"--b--", b"\r\n", b"\n", b"Content-Disposition: form-data; name=", b'"q"', b'; filename="a"']
PIECES += [b'{"q": ', b"[", b"}", b'"', b"\\ud800", b"a=", b"&", b"%", b"%ff", b"\x00", b":", b";", b"1e999", b"-"]


@pytest.mark.parametrize("parse", [parse_json, parse_form, multipart])
@settings(deadline=None)
@given(body=st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=20).map(b"".join))
def test_any_bytes_are_read_or_refused(parse: Any, body: bytes) -> None:
    try:
        fields = parse(body)
    except BadRequest:
        return
    assert all(isinstance(name, str) for name in fields)


def test_the_garbage_collector_waits_for_the_end_of_a_body() -> None:
    seen: list[Any] = []
    gc.callbacks.append(lambda *args: seen.append(args))
    try:
        parse_json(b'{"q": [' + b"[]," * 100_000 + b"1]}")
        assert gc.isenabled()
    finally:
        gc.callbacks.pop()
    assert len(seen) <= 4  # begin and end of a collection before and after it


@pytest.mark.parametrize("unit", [b"--b\r\n", b"--b", b"-", b"\r\n", b"a", b"--b\r\nA: b\r\n\r\n", b"--b\r\nA", b":"])
def test_hostile_forms_take_linear_time(unit: bytes) -> None:
    with suppress(BadRequest):  # quadratic time would be minutes
        multipart(unit * (200_000 // len(unit)))
