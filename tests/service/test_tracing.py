"""Spans: what they have, what they never have, and that the service works without them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, set_tracer_provider

from service import app as application
from service.tracing import ENDPOINT, Tracer, make_tracer
from tests.service.fakes import POISON, FakeEngine, client_of, fake_app
from tests.service.test_settings import ROOT, WITHOUT

GOOD = {"q": "my words", "source": "en", "target": "de"}
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The spans that are recorded."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(application, "make_tracer", lambda: Tracer(provider))
    yield exporter
    provider.shutdown()


@pytest.mark.anyio
async def test_a_span_for_each_request_without_its_text_or_key(spans: InMemorySpanExporter) -> None:
    set_tracer_provider(TracerProvider(shutdown_on_exit=False))  # FastAPI's own spans would have the query string
    async with client_of(fake_app(FakeEngine(), api_keys=("s3cret",))) as client:
        parent = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "X-Request-ID": "abc-3"}
        answer = await client.post("/translate", params={**GOOD, "api_key": "s3cret"}, headers=parent)
        assert answer.status_code == 200
        await client.post("/translate", json={**GOOD, "q": POISON, "api_key": "s3cret"})
    good, bad = spans.get_finished_spans()
    assert (good.name, good.kind) == ("POST /translate", SpanKind.SERVER)
    assert good.context is not None and f"{good.context.trace_id:032x}" == TRACE
    assert good.attributes == {
        "http.request.method": "POST",
        "http.route": "/translate",
        "http.response.status_code": 200,
        "nmt.request_id": "abc-3",
        "nmt.segments": 1,
        "nmt.pieces": len("my words"),
    }
    assert good.start_time is not None and good.end_time is not None and good.start_time < good.end_time
    assert bad.status.status_code == StatusCode.ERROR
    assert bad.attributes is not None and bad.attributes["error.type"] == "failed"


def test_without_an_address_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT, raising=False)
    assert make_tracer() is None


@pytest.mark.anyio
async def test_an_address_that_nobody_listens_on_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    began = time.monotonic()
    async with client_of(fake_app(FakeEngine())) as client:
        for _ in range(20):
            assert (await client.post("/translate", json=GOOD)).status_code == 200
    assert time.monotonic() - began < 20.0


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    (tmp_path / "model.pt").write_bytes(b"never read")
    code = WITHOUT.format(package="opentelemetry.sdk", arguments=["--models", str(tmp_path), "--port", "0"])
    code = code.replace('name.split(".")[0] ==', "name ==")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not installed; run this in the project's folder: pip install -e '.[otel]'" in done.stderr
