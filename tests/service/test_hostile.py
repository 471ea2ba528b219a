"""Hostile requests against a real service process; `python -m tests.service.hostile` sends as many as one likes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from service.connections import OnceASecond
from tests.copy_model import exported
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


def test_a_warning_is_logged_once_a_second() -> None:
    now = [0.0]
    seen = OnceASecond(lambda: now[0])

    def passes(message: str, level: int = logging.WARNING) -> bool:
        return seen.filter(logging.LogRecord("x", level, "", 0, message, (), None))

    assert [passes("a"), passes("a"), passes("b")] == [True, False, True]
    now[0] = 1.0
    assert [passes("a"), passes("a"), passes("a", logging.ERROR)] == [True, False, True]
