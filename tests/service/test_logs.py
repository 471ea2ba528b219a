"""The log: its forms, what it never says, and a reader that does not read."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from service.logs import Handler, JsonFormatter, LineWriter, TextFormatter, logging_to
from tests.service.fakes import FakeEngine, client_of, fake_app

GOOD = {"q": "my words", "source": "en", "target": "de"}


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def read_lines(end: int) -> list[str]:
    """What was written to a pipe, once its writer was closed."""
    return os.read(end, 1 << 20).decode().splitlines()


def test_lines_arrive_in_order_and_before_the_end(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with logging_to(writing, "text", "info"):
        for n in range(50):
            logging.getLogger("test").info("line %d", n, extra={"fields": {"a": n, "b": "two words", "c": "x\ny"}})
        logging.getLogger("test").debug("not this one")
        logging.getLogger("test").warning("one\nFORGED line")
    lines = read_lines(reading)
    assert len(lines) == 51
    assert lines[7].endswith('INFO test: line 7 a=7 b="two words" c="x\\ny"')
    assert lines[50].endswith("WARNING test: one\\nFORGED line")


def test_json_is_an_object_a_line(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    with logging_to(writing, "json", "info"):
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("test").exception("a %s", "problem", extra={"fields": {"status": 500}})
    (line,) = read_lines(reading)
    entry = json.loads(line)
    assert entry.items() >= {"level": "error", "logger": "test", "message": "a problem", "status": 500}.items()
    assert entry["exception"].endswith("ValueError: two\nlines")


def test_a_full_pipe_delays_nobody_and_is_counted(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    dropped: list[int] = []
    writer = LineWriter(writing, most_bytes=100_000)
    writer.dropped = dropped.append
    began = time.monotonic()
    for _ in range(5000):
        writer.write(b"x" * 99 + b"\n")  # 500 kB; a pipe holds 64
    assert not writer.close(0.1)
    assert time.monotonic() - began < 5.0
    kept = 5000 - len(dropped)
    assert 1000 <= kept <= 2000

    got = 0
    while got < 100 * kept:
        got += len(os.read(reading, 1 << 20))
    assert writer.close(5.0)


def test_a_full_disk_is_counted() -> None:
    dropped: list[int] = []
    with open("/dev/full", "wb") as full:
        writer = LineWriter(full.fileno())
        writer.dropped = dropped.append
        writer.write(b"line\n")
        assert writer.close(5.0)
    assert dropped == [1]


def test_threads_share_a_writer(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = LineWriter(writing)

    def write(n: int) -> None:
        for _ in range(200):
            writer.write(b"%d\n" % n)

    threads = [threading.Thread(target=write, args=[n]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.close(5.0)
    assert sorted(read_lines(reading)) == sorted(str(n) for n in range(4) for _ in range(200))


def formatted(records: list[logging.LogRecord], formatter: logging.Formatter) -> str:
    return "\n".join(formatter.format(record) for record in records)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """All that is logged, with the ids of requests."""
    taken: list[logging.LogRecord] = []

    class Taking(Handler):
        def __init__(self) -> None:
            logging.Handler.__init__(self)

        def emit(self, record: logging.LogRecord) -> None:
            self._writer = self  # type: ignore[assignment]
            super().emit(record)
            taken.append(record)

        def write(self, line: bytes) -> None:
            assert line.endswith(b"\n")

    handler, root = Taking(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield taken
    root.removeHandler(handler)
    root.setLevel(level)


def line_of(records: list[logging.LogRecord]) -> Any:
    """The line of the last request, as JSON."""
    return json.loads(JsonFormatter().format([r for r in records if r.name == "service.requests"][-1]))


@pytest.mark.anyio
async def test_the_line_of_a_request_names_the_client_and_no_secret(records: list[logging.LogRecord]) -> None:
    app = fake_app(FakeEngine(), api_keys=("s3cret-key",), access_log=True)
    async with client_of(app) as client:
        answer = await client.post("/translate?api_key=s3cret-key", data=GOOD, headers={"X-Request-ID": "abc-1"})
        assert answer.status_code == 200
        assert answer.headers["x-request-id"] == "abc-1"
        line = line_of(records)
        expected = {"request_id": "abc-1", "route": "/translate", "method": "POST", "status": 200, "client": "key #1"}
        assert line.items() >= {**expected, "segments": 1, "pieces": len("my words")}.items()
        assert line["ms"] > 0
        refused = await client.post("/translate", json={**GOOD, "api_key": "s3cret"})
        assert refused.status_code == 403
        assert line_of(records).items() >= {"status": 403, "reason": "wrong_key", "client": "address 127.0.0.1"}.items()
        missing = await client.get("/nothing/here?q=s3cret")
        assert line_of(records)["route"] == "other"
        assert line_of(records)["request_id"] == missing.headers["x-request-id"]
    for formatter in (TextFormatter(), JsonFormatter()):
        log = formatted([r for r in records if r.name.startswith("service")], formatter)
        assert "s3cret" not in log and "my words" not in log and "nothing" not in log


@pytest.mark.anyio
async def test_texts_are_logged_only_if_that_is_asked_for(records: list[logging.LogRecord]) -> None:
    async with client_of(fake_app(FakeEngine(), access_log=True, log_texts=True)) as client:
        await client.post("/translate", json=GOOD)
    assert line_of(records)["texts"] == ["my words"]


@pytest.mark.anyio
@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\u00e9", 'a"', "a=b"])
async def test_a_strange_request_id_is_replaced(given: str) -> None:
    async with client_of(fake_app(FakeEngine())) as client:
        answers = [await client.get("/health", headers=[(b"X-Request-ID", given.encode())]) for _ in range(2)]
    made = [answer.headers["x-request-id"] for answer in answers]
    assert given not in made and made[0] != made[1] and all(one.isalnum() for one in made)


@pytest.mark.anyio
async def test_an_unexpected_error_is_logged_with_the_id_of_its_request(
    records: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("inside")

    app = fake_app(FakeEngine())
    async with client_of(app) as client:
        monkeypatch.setattr(app.state.service, "unhealthy", fail)
        answer = await client.get("/health", headers={"X-Request-ID": "abc-2"})
        monkeypatch.undo()
        assert (answer.status_code, answer.json()) == (500, {"error": "Internal server error"})
        assert answer.headers["access-control-allow-origin"] == "*"
        (record,) = [record for record in records if record.name == "service.tracking"]
        assert json.loads(JsonFormatter().format(record))["request_id"] == "abc-2"
        page = (await client.get("/metrics")).text
        assert 'nmt_requests_total{method="GET",route="/health",status="500"} 1.0' in page
