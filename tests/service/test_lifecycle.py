"""The service under load, with disconnecting clients, with failing models, while it starts and while it stops."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from service import body
from service.app import create_app
from service.metrics import Metrics
from service.models import SHORT, WARM_UP, Model
from service.settings import Settings, SettingsError, load_settings
from service.worker import RESTARTS
from tests.service.fakes import CRASH, POISON, FakeEngine, FakeModels, FakeTranslator, client_of, fake_app, until

pytestmark = pytest.mark.anyio

GOOD = {"q": "hello", "source": "en", "target": "de"}


async def test_fifty_clients_share_the_steps() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with client_of(app := fake_app(engine)) as client:
        worker = next(iter(app.state.service.models)).worker
        tasks = [asyncio.create_task(client.post("/translate", json={**GOOD, "q": f"text {n}"})) for n in range(50)]
        await until(lambda: worker.active + worker.waiting == 50 and not worker.preparing)
        engine.gate.set()
        answers = [task.json() for task in await asyncio.gather(*tasks)]
    assert answers == [{"translatedText": f"TEXT {n}"} for n in range(50)]
    assert len(engine.batches) <= 6  # one by one they would take 150
    assert max(engine.batches) >= 49


async def test_long_text_is_prepared_in_a_thread_and_short_text_at_once() -> None:
    threads: list[bool] = []

    class Watched(FakeTranslator):
        def steps(self, texts: Sequence[str], options: dict[str, Any], **kinds: Any) -> Any:
            steps = super().steps(texts, options, **kinds)
            threads.append(threading.current_thread() is threading.main_thread())
            results = yield next(steps)
            try:
                steps.send(results)
            except StopIteration as end:
                return end.value

    async with client_of(app := fake_app(FakeEngine())) as client:
        next(iter(app.state.service.models))._translator = Watched()
        for text in ("short", "long " * SHORT):
            answer = await client.post("/translate", json={**GOOD, "q": text})
            assert answer.json() == {"translatedText": text.upper()}
    assert threads == [True, False]


async def test_overload_is_refused_early() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with client_of(fake_app(engine, rows=2, queue=5)) as client:
        tasks = [asyncio.create_task(client.post("/translate", json=GOOD)) for _ in range(30)]
        await until(lambda: sum(task.done() for task in tasks) >= 23)
        refused = [task.result() for task in tasks if task.done()]
        assert {answer.status_code for answer in refused} == {503}
        assert refused[0].json() == {"error": "the queue is full, try again later"}
        assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in refused)
        engine.gate.set()
        answers = await asyncio.gather(*tasks)
        assert 5 <= sum(answer.status_code == 200 for answer in answers) <= 7  # five waiting, up to two active


async def test_a_deadline_frees_the_slots() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with client_of(app := fake_app(engine, timeout_s=0.1)) as client:
        worker = next(iter(app.state.service.models)).worker
        late = await client.post("/translate", json=GOOD)
        assert (late.status_code, late.json()) == (504, {"error": "not translated within 0.1 seconds"})
        engine.gate.set()
        await until(lambda: worker.active == 0)
        assert len(engine.cancelled) == 1


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def never() -> Any:
        yield b'{"q": '
        await asyncio.sleep(20)

    async with client_of(fake_app(FakeEngine(), timeout_s=0.1)) as client:
        answer = await client.post("/translate", content=never(), headers={"content-type": "application/json"})
    assert answer.status_code == 408
    assert "did not arrive" in answer.json()["error"]


async def test_a_client_that_goes_away_frees_its_slots() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    app = fake_app(engine)
    async with client_of(app) as client:
        worker = next(iter(app.state.service.models)).worker
        gone = asyncio.Event()
        body = [{"type": "http.request", "body": b"q=a&source=en&target=de", "more_body": False}]

        async def receive() -> Any:
            if body:
                return body.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            pass

        scope = {
            "type": "http", "method": "POST", "path": "/translate", "query_string": b"", "http_version": "1.1",
            "headers": [(b"content-type", b"application/x-www-form-urlencoded")], "client": ("10.0.0.1", 1),
        }  # fmt: skip
        call = asyncio.create_task(app(scope, receive, send))
        await until(lambda: worker.active == 1)
        gone.set()
        await call
        engine.gate.set()
        await until(lambda: worker.active == 0)
        assert len(engine.cancelled) == 1
        page = (await client.get("/metrics")).text
    assert 'route="/translate",status="499"} 1.0' in page


@pytest.mark.parametrize("text", [POISON, CRASH])
async def test_a_failing_model_answers_500_and_goes_on(text: str) -> None:
    async with client_of(fake_app(FakeEngine())) as client:
        failed = await client.post("/translate", json={**GOOD, "q": text})
        assert (failed.status_code, failed.json()) == (500, {"error": "the translation failed"})
        assert (await client.post("/translate", json=GOOD)).status_code == 200
        assert (await client.get("/health")).status_code == 200


async def test_a_lost_engine_is_replaced() -> None:
    engine = FakeEngine(broken=SystemExit)
    async with client_of(fake_app(engine)) as client:
        assert (await client.post("/translate", json=GOOD)).status_code == 500
        engine.broken = None
        assert (await client.post("/translate", json=GOOD)).status_code == 200
        assert (await client.get("/health")).status_code == 200
        assert "nmt_engine_restarts_total 1.0" in (await client.get("/metrics")).text


async def test_a_worker_that_loses_its_engines_turns_health_red() -> None:
    async with client_of(app := fake_app(FakeEngine(broken=SystemExit))) as client:
        for _ in range(RESTARTS + 1):
            assert (await client.post("/translate", json=GOOD)).status_code == 500
        worker = next(iter(app.state.service.models)).worker
        await until(lambda: not worker.alive)
        assert "has stopped" in (health := await client.get("/health")).json()["error"]
        assert health.status_code == 503
        assert (await client.get("/ready")).status_code == 503
        assert (await client.post("/translate", json=GOOD)).status_code == 503


async def test_a_hung_step_turns_health_red_and_ends_the_service() -> None:
    engine = FakeEngine()
    async with client_of(app := fake_app(engine, hang_s=0.1)) as client:
        ended: list[str] = []
        app.state.service.on_failure = ended.append
        assert (await client.post("/translate", json=GOOD)).status_code == 200
        engine.gate.clear()
        answers = await asyncio.gather(*(client.post("/translate", json=GOOD) for _ in range(3)))
        assert {answer.status_code for answer in answers} == {500}
        assert "did not end within 0.1 s" in answers[0].json()["error"]
        await until(lambda: bool(ended))
        assert (await client.get("/health")).status_code == 503
        assert (await client.get("/ready")).status_code == 503
        engine.gate.set()


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_too_large_is_answered_and_read_on_within_bounds(
    announced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "LINGER_BYTES", 20_000)
    sent = 0

    async def chunks() -> Any:
        nonlocal sent
        for _ in range(1000):
            sent += 1000
            yield b"x" * 1000

    headers = {"content-type": "application/json", **({"content-length": "1000000"} if announced else {})}
    async with client_of(fake_app(FakeEngine(), max_body_bytes=5000)) as client:
        answer = await client.post("/translate", content=chunks(), headers=headers)
    assert answer.status_code == 413
    assert answer.json() == {"error": "Invalid request: the body is larger than 5000 bytes"}
    assert sent <= 30_000


async def test_bodies_on_the_way_are_bounded_together() -> None:
    more = asyncio.Event()

    async def slow() -> Any:
        yield b'{"q": "' + b"x" * 3000
        await more.wait()
        yield b'", "source": "en", "target": "de"}'

    headers = {"content-type": "application/json"}
    async with client_of(app := fake_app(FakeEngine(), max_body_bytes=4000, max_bodies_bytes=5000)) as client:
        first = asyncio.create_task(client.post("/translate", content=slow(), headers=headers))
        await until(lambda: app.state.bodies.used > 3000)
        refused = await client.post("/translate", json={**GOOD, "q": "y" * 3000})
        assert (refused.status_code, refused.headers["connection"]) == (503, "close")
        assert (await client.post("/translate", json=GOOD)).status_code == 200
        more.set()
        assert (await first).status_code == 200
        assert app.state.bodies.used == 0


async def test_a_text_of_20_000_characters() -> None:
    text = "\n".join(f"line {n} " + "word " * 10 for n in range(350))[:20_000]
    async with client_of(fake_app(FakeEngine(), rows=16)) as client:
        answer = await client.post("/translate", json={**GOOD, "q": text})
    assert answer.json() == {"translatedText": text.upper()}


async def test_while_loading_it_lives_but_is_not_ready() -> None:
    sources: list[FakeModels] = []

    def load(settings: Settings, metrics: Metrics) -> FakeModels:
        sources.append(FakeModels(settings, metrics, FakeEngine()))
        sources[0].gate.clear()
        return sources[0]

    async with client_of(app := create_app(load_settings(), load), ready=False) as client:
        assert (await client.get("/health")).status_code == 200
        for method, path in (("GET", "/ready"), ("POST", "/translate"), ("GET", "/languages"), ("GET", "/models")):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert "loading" in answer.json()["error"]
        await until(lambda: bool(sources))
        sources[0].gate.set()
        await until(lambda: app.state.service.not_ready() is None)
        assert (await client.get("/ready")).json() == {"status": "ready", "models": {"fake0": "ready"}}


async def test_stopped_while_loading_it_never_claims_to_be_ready(caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()

    def load(settings: Settings, metrics: Metrics) -> FakeModels:
        source = FakeModels(settings, metrics, FakeEngine(), [[("en", "de")], [("de", "en")]])
        source.gate = gate
        return source

    with caplog.at_level(logging.INFO):
        async with client_of(app := create_app(load_settings(), load), ready=False):
            await until(lambda: app.state.service.registry is not None)
            threading.Timer(0.1, gate.set).start()
    assert caplog.messages == ["stopping: accepted requests have 30 s to finish", "stopped"]


async def test_without_a_model_that_can_be_loaded_health_is_red(caplog: pytest.LogCaptureFixture) -> None:
    def load(settings: Settings, metrics: Metrics) -> FakeModels:
        raise SettingsError("no such model")

    with caplog.at_level(logging.ERROR):
        async with client_of(app := create_app(load_settings(), load), ready=False) as client:
            await until(lambda: app.state.service.failure is not None)
            answer = await client.get("/health")
    assert (answer.status_code, answer.json()["error"]) == (503, "the models could not be loaded: no such model")
    assert "Traceback" not in caplog.text


async def test_while_draining_what_was_accepted_is_finished_and_nothing_else_taken() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with client_of(app := fake_app(engine)) as client:
        accepted = asyncio.create_task(client.post("/translate", json=GOOD))
        await until(lambda: next(iter(app.state.service.models)).worker.active == 1)
        app.state.service.drain()
        refused = await client.post("/translate", json=GOOD)
        assert refused.status_code == 503
        assert (refused.headers["connection"], refused.headers["retry-after"]) == ("close", "5")
        assert (await client.get("/ready")).status_code == 503
        assert (await client.get("/health")).status_code == 200
        engine.gate.set()
        assert (await accepted).json() == {"translatedText": "HELLO"}


async def test_when_the_drain_time_is_over_the_rest_gets_an_error() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with client_of(app := fake_app(engine, drain_s=0.1)) as client:
        accepted = asyncio.create_task(client.post("/translate", json=GOOD))
        await until(lambda: next(iter(app.state.service.models)).worker.active == 1)
        app.state.service.drain()
        answer: httpx.Response = await accepted
        assert answer.status_code == 503
        assert "shutting down" in answer.json()["error"]
        engine.gate.set()


def test_a_model_is_warmed_up_and_its_speed_measured() -> None:
    """torch compiles a part of the model at its second call, which would otherwise be the first user's."""
    engine = FakeEngine()
    model = FakeModels(load_settings(), Metrics(), engine).load("fake0")
    Model.warm_up(model)
    model.close(5.0)
    assert engine.added == [*WARM_UP] * 3
    assert model.worker.speed > 0.0
