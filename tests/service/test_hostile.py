"""Hostile requests against a real service process; `python -m tests.service.hostile` sends as many as one likes."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import uvicorn

from service.connections import Connections, OnceASecond
from service.server import listen
from tests.copy_model import exported
from tests.service.fakes import FakeEngine, fake_app
from tests.service.hostile import ASKED, run, served

HANG_S = 20.0  # far above what is promised (2 s, and 100 ms for /health): machines that run tests may be busy


@pytest.mark.slow
def test_every_request_is_answered_or_refused(tmp_path: Path) -> None:
    model = tmp_path / "copy.pt"
    model.write_bytes(exported())
    with served(model) as (client, log):
        report = run("127.0.0.1", client.base_url.port or 0, 1000)
        said = str(report)
        assert not report.wrong, said
        assert not report.silent, said
        assert report.slowest[0][0] < HANG_S, said
        assert report.probes > 0 and report.health_ms < 1000 * HANG_S, said
        assert client.post("/translate", json=ASKED).json() == {"translatedText": ASKED["q"]}
        assert log.stat().st_size < 100_000, log.read_text()[:10_000]


def test_a_head_without_an_end_is_refused() -> None:
    app = fake_app(FakeEngine())
    [listening] = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, http=Connections(9, 60, 60).protocol(), log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        for line in (b"GET /health?", b"GET /health HTTP/1.1\r\nA: "):
            with socket.create_connection(listening.getsockname()[:2], timeout=20) as client:
                client.sendall(line + b"a" * 1000)
                with suppress(OSError):
                    for _ in range(100):
                        client.sendall(b"a" * 10_000)
                with suppress(OSError):
                    assert client.recv(100).startswith(b"HTTP/1.1 431 ")
        with socket.create_connection(listening.getsockname()[:2], timeout=20) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 200_000 + b"\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    finally:
        server.should_exit = True
        thread.join(20)


def test_a_warning_is_logged_once_a_second() -> None:
    now = [0.0]
    seen = OnceASecond(lambda: now[0])

    def passes(message: str, level: int = logging.WARNING) -> bool:
        return seen.filter(logging.LogRecord("x", level, "", 0, message, (), None))

    assert [passes("a"), passes("a"), passes("b")] == [True, False, True]
    now[0] = 1.0
    assert [passes("a"), passes("a"), passes("a", logging.ERROR)] == [True, False, True]
