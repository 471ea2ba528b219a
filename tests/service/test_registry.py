"""Models that come, go, are replaced, fail to load, and do not all fit into memory, while requests are answered."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from nmt.errors import ArtifactError
from service import registry
from service.app import create_app
from service.lifecycle import Service
from service.metrics import Metrics
from service.models import Description, ModelFile, Models, Pair, Stamp
from service.registry import in_thread
from service.settings import Settings, load_settings
from tests.service.fakes import FakeEngine, FakeModels, client_of, until

pytestmark = pytest.mark.anyio

GOOD = {"q": "hello", "source": "en", "target": "de"}
EN_DE, DE_EN, DE_FR = ("en", "de"), ("de", "en"), ("de", "fr")
OLD, NEW = "2026-01-01T10:00:00+00:00", "2026-01-02T09:00:00+00:00"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.models.detector", lambda languages: None)
    monkeypatch.setattr(registry, "SETTLE_S", 0.0)
    monkeypatch.setattr(registry, "ROOM_S", 0.2)


@asynccontextmanager
async def running(*groups: list[Pair], **settings: Any) -> AsyncIterator[tuple[httpx.AsyncClient, FakeModels, Service]]:
    """Run a service over fake models, one per group of pairs; by default it does not look for changes by itself."""
    sources: list[FakeModels] = []

    def load(given: Settings, metrics: Metrics) -> FakeModels:
        return sources[0]

    given = load_settings(**{"reload_s": 0, "admin_key": "secret", **settings})
    app = create_app(given, load)
    service: Service = app.state.service
    engines = [FakeEngine() for _ in groups]
    sources.append(FakeModels(given, service.metrics, engines, groups))
    async with client_of(app) as client:
        yield client, sources[0], service


async def reload(client: httpx.AsyncClient, status: int = 200) -> Any:
    answer = await client.post("/admin/reload", headers={"Authorization": "Bearer secret"})
    assert answer.status_code == status, answer.text
    return answer.json()


async def translated(client: httpx.AsyncClient, **fields: Any) -> Any:
    answer = await client.post("/translate", json={**GOOD, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def listed(client: httpx.AsyncClient) -> dict[str, Any]:
    return {one["name"]: one for one in (await client.get("/models")).json()}


# --- damaged files --------------------------------------------------------------------------------------------------


async def test_a_damaged_file_is_left_out_by_name_and_the_others_serve(caplog: pytest.LogCaptureFixture) -> None:
    given = load_settings(models="folder", reload_s=0)
    source = FakeModels(given, Metrics(), [FakeEngine()] * 3, [[EN_DE], [DE_EN], [DE_FR]])
    source.broken["fake1"] = ArtifactError("folder/fake1.pt: damaged")
    source.unloadable["fake2"] = MemoryError("internals")
    async with client_of(create_app(given, lambda *_: source)) as client:
        await translated(client)
        assert (await client.get("/ready")).json()["models"] == {"fake0": "ready", "fake1": "failed", "fake2": "failed"}
        models = await listed(client)
        assert (models["fake1"]["state"], models["fake1"]["error"]) == (
            "failed",
            "fake1.pt: damaged",
        )  # without the folder
        assert models["fake2"]["error"] == "unexpected MemoryError"
        assert [one["code"] for one in (await client.get("/languages")).json()] == ["en", "de"]
        page = (await client.get("/metrics")).text
    assert 'nmt_model_load_failures_total{model="fake1"} 1.0' in page
    assert 'nmt_model_loaded{model="fake0"} 1.0' in page
    assert "fake1 is left out: folder/fake1.pt: damaged" in caplog.text


@pytest.mark.parametrize("files", [1, 2])
async def test_without_any_file_that_can_be_used_the_start_fails(files: int) -> None:
    given = load_settings()
    source = FakeModels(given, Metrics(), FakeEngine(), [[EN_DE]] * files)
    source.broken = {f"fake{n}": ArtifactError(f"fake{n}.pt: damaged") for n in range(files)}
    async with client_of(app := create_app(given, lambda *_: source), ready=False) as client:
        await until(lambda: app.state.service.failure is not None)
        assert (await client.get("/health")).status_code == 503
    many = "" if files == 1 else "none of 2 files in models can be used: "
    assert app.state.service.failure == f"{many}fake0.pt: damaged"


# --- reload ---------------------------------------------------------------------------------------------------------


async def test_requests_finish_on_the_model_they_began_with_and_it_is_closed_then() -> None:
    async with running([EN_DE]) as (client, source, service):
        old_engine: FakeEngine = source.engines["fake0"]
        (old,) = service.models or []
        old_engine.gate.clear()
        began = [asyncio.create_task(translated(client, q=f"old {n}")) for n in range(5)]
        await until(lambda: old.worker.active + old.worker.waiting == 5 and not old.worker.preparing)
        source.put("fake0", engine=FakeEngine())
        assert await reload(client) == {"loaded": ["fake0"], "removed": [], "failed": {}}
        await translated(client, q="new")
        assert source.engines["fake0"].added == ["new"]
        assert [one["state"] for one in (await client.get("/models")).json()] == ["ready", "draining"]
        assert old.worker.alive
        old_engine.gate.set()
        assert [one["translatedText"] for one in await asyncio.gather(*began)] == [f"OLD {n}" for n in range(5)]
        await until(lambda: not old.worker.alive)
        assert [one["state"] for one in (await client.get("/models")).json()] == ["ready"]
        assert old_engine.added == [f"old {n}" for n in range(5)]


async def test_the_old_model_serves_until_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    gate.set()
    monkeypatch.setattr("service.models.detector", lambda languages: gate.wait(20) and None)
    async with running([EN_DE], [DE_EN]) as (client, source, service):
        gate.clear()
        source.put("fake0", [EN_DE, DE_FR])  # so there is a detector to be loaded before the switch
        reloading = asyncio.create_task(reload(client))
        await until(lambda: source.loads == ["fake0", "fake1", "fake0"])
        for n in range(5):
            await translated(client, q=f"{n}")
            await asyncio.sleep(0.02)
        assert source.engines["fake0"].added == []
        gate.set()
        await reloading
        await translated(client, q="new")
        assert source.engines["fake0"].added == ["new"]
        assert len(service.registry.loaded() if service.registry else ()) == 2


async def test_a_bad_new_file_keeps_the_old_model() -> None:
    async with running([EN_DE]) as (client, source, _):
        for problems in (source.broken, source.unloadable):
            source.put("fake0")
            problems["fake0"] = ArtifactError("fake0.pt: damaged")
            answer = await reload(client, 422)
            assert answer["failed"] == {"fake0": "fake0.pt: damaged"}
            assert "fake0.pt: damaged" in answer["error"]
            await translated(client)
            models = await listed(client)
            assert (models["fake0"]["state"], models["fake0"]["error"]) == ("ready", "fake0.pt: damaged")
            assert (await client.get("/ready")).json()["models"] == {"fake0": "failed"}
            problems.clear()
        assert (await reload(client))["loaded"] == ["fake0"]  # failed files are tried again
        assert "error" not in (await listed(client))["fake0"]
        assert source.loads == ["fake0"] * 2


async def test_a_new_file_that_fails_while_it_is_warmed_up_is_not_taken() -> None:
    async with running([EN_DE]) as (client, source, service):
        source.warmed_up.add("fake0")
        source.put("fake0", engine=FakeEngine(broken=ValueError))
        await reload(client, 422)
        assert service.registry is not None
        error: BaseException = service.registry.failures["fake0"].error
        assert (error.__traceback__, error.__context__) == (None, None)  # else it would keep the model in memory
        assert await translated(client) == {"translatedText": "HELLO"}
        assert (await client.get("/health")).status_code == 200
        await until(lambda: sum(thread.name.startswith("fake0 ") for thread in threading.enumerate()) == 1)


async def test_a_load_that_hangs_fails_by_name_and_the_old_model_serves_on() -> None:
    async with running([EN_DE], load_s=0.2) as (client, source, _):
        source.gate.clear()
        source.put("fake0")
        assert "within 0.2 s" in (await reload(client, 422))["failed"]["fake0"]
        await translated(client)
        source.gate.set()
        await until(lambda: source.loads == ["fake0"] * 2)
        await until(lambda: sum(thread.name.startswith("fake0 ") for thread in threading.enumerate()) == 1)  # closed


async def test_a_warm_up_that_hangs_fails_by_name() -> None:
    given = load_settings(load_s=0.2)
    source = FakeModels(given, Metrics(), FakeEngine())
    source.warmed_up.add("fake0")
    source.engines["fake0"].gate.clear()
    async with client_of(app := create_app(given, lambda *_: source), ready=False) as client:
        await until(lambda: app.state.service.failure is not None)
        assert "within 0.2 s" in (await client.get("/health")).json()["error"]
        source.engines["fake0"].gate.set()


async def test_files_that_come_and_go_change_the_languages() -> None:
    async with running([EN_DE]) as (client, source, _):
        source.put("more", [DE_FR])
        assert (await reload(client))["loaded"] == ["more"]
        assert [one["code"] for one in (await client.get("/languages")).json()] == ["en", "de", "fr"]
        assert (await translated(client, target="fr"))["pivot"] == "de"
        del source.descriptions["more"]
        assert (await reload(client))["removed"] == ["more"]
        assert [one["code"] for one in (await client.get("/languages")).json()] == ["en", "de"]
        source.descriptions.clear()
        assert "the models in service stay" in (await reload(client, 422))["error"]
        await translated(client)


async def test_the_folder_is_watched_and_a_file_is_taken_when_two_looks_agree() -> None:
    async with running([EN_DE], reload_s=0.02) as (_, source, service):
        source.put("late", [DE_EN])
        look = source.look

        def look_at_a_growing_file() -> dict[str, Stamp]:
            source.touch("late")
            return look()

        source.look = look_at_a_growing_file  # type: ignore[method-assign]
        await asyncio.sleep(0.2)
        assert source.loads == ["fake0"]
        source.look = look  # type: ignore[method-assign]
        await until(lambda: source.loads == ["fake0", "late"])
        await until(lambda: "late" in (service.models.files if service.models else ()))
        source.touch("late")  # the same content once more
        await asyncio.sleep(0.1)
        assert source.loads == ["fake0", "late"]
        del source.descriptions["late"]
        await until(lambda: "late" not in (service.models.files if service.models else ()))


async def test_a_failing_look_is_logged_once_and_the_watch_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with running([EN_DE], reload_s=0.01) as (_, source, service):
        before = dict(source.descriptions)
        source.descriptions.clear()
        await asyncio.sleep(0.2)
        assert [message for message in caplog.messages if "stay" in message] == ["the models in service stay: no model"]
        source.descriptions.update(before)
        source.put("more", [DE_EN])
        await until(lambda: "more" in (service.models.files if service.models else ()))


async def test_no_request_is_lost_while_good_and_bad_files_come(caplog: pytest.LogCaptureFixture) -> None:
    async with running([EN_DE], reload_s=0.01) as (client, source, _):
        done = False

        async def ask(n: int) -> int:
            asked = 0
            while not done:
                text = f"text {n} {asked}"
                assert await translated(client, q=text) == {"translatedText": text.upper()}
                asked += 1
                await asyncio.sleep(0.002)
            return asked

        clients = [asyncio.create_task(ask(n)) for n in range(8)]
        for n in range(30):
            if n % 3 == 2:
                source.broken["fake0"] = ArtifactError("damaged")
            else:
                source.broken.clear()
            source.put("fake0")
            loads = len(source.loads)
            await (until(lambda: len(source.loads) > loads) if n % 3 < 2 else asyncio.sleep(0.05))  # noqa: B023
        done = True
        assert min(await asyncio.gather(*clients)) > 0
        assert len(source.loads) == 21
        await until(lambda: sum(thread.name.startswith("fake0 ") for thread in threading.enumerate()) == 1)


@pytest.mark.parametrize(
    ("key", "header", "status"),
    [
        ("", "Bearer ", 404),
        ("", None, 404),
        ("secret", None, 403),
        ("secret", "Bearer secre", 403),
        ("secret", "secret", 200),
    ],
)
async def test_the_admin_key(key: str, header: str | None, status: int) -> None:
    async with running([EN_DE], admin_key=key) as (client, _, _):
        headers = {} if header is None else {"Authorization": header}
        assert (await client.post("/admin/reload", headers=headers)).status_code == status


# --- versions -------------------------------------------------------------------------------------------------------


def files(*descriptions: tuple[str, str, float]) -> list[ModelFile]:
    """Files with these pairs like "en-de fr-de", dates of export and dates of the file."""
    return [
        ModelFile(
            Description(
                f"{n}", tuple((p.partition("-")[0], p.partition("-")[2]) for p in pairs.split()), date, written
            ),
            (),
            None,  # type: ignore[arg-type]
        )
        for n, (pairs, date, written) in enumerate(descriptions)
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param([("en-de", NEW, 1), ("en-de", OLD, 2)], {("en", "de"): "0"}, id="the newer export"),
        pytest.param([("en-de", OLD, 1), ("en-de", NEW, 2)], {("en", "de"): "1"}, id="in any order"),
        pytest.param([("en-de", OLD, 1), ("en-de", OLD, 2)], {("en", "de"): "1"}, id="same date: newer file"),
        pytest.param([("en-zh", OLD, 1), ("EN-zh-Hans", NEW, 2)], {("en", "zh-hans"): "1"}, id="aliases"),
        pytest.param([("en-de", OLD, 1), ("de-en", NEW, 2)], {("en", "de"): "0", ("de", "en"): "1"}, id="other pairs"),
        pytest.param(
            [("en-de en-fr", OLD, 1), ("en-de", NEW, 2)], {("en", "fr"): "0", ("en", "de"): "1"}, id="pair by pair"
        ),
    ],
)
def test_the_last_export_of_a_pair_is_the_default(given: Any, expected: dict[Pair, str]) -> None:
    assert {pair: file.name for pair, file in Models(files(*given)).pairs.items()} == expected


async def test_versions_side_by_side_are_chosen_by_name() -> None:
    async with running([EN_DE, DE_FR]) as (client, source, _):
        source.put("v2", exported=NEW, size_bytes=7, dtype="int8")
        await reload(client)
        assert "model" not in await translated(client, q="default")
        assert await translated(client, q="by name", model="fake0") == {"translatedText": "BY NAME", "model": "fake0"}
        assert source.engines["v2"].added == ["default"]
        assert source.engines["fake0"].added == ["by name"]
        pivoted = await client.post("/translate", json={**GOOD, "target": "fr", "model": "v2"})
        assert (pivoted.status_code, "not available as a target" in pivoted.json()["error"]) == (400, True)
        for name in ("v3", "../v2", ["v2"], 2):
            unknown = await client.post("/translate", json={**GOOD, "model": name})
            assert unknown.status_code == 400
            assert unknown.json()["error"].endswith("is not one of fake0, v2")
        assert (await listed(client))["v2"] == {
            "name": "v2",
            "pairs": [{"source": "en", "target": "de"}],
            "default_for": [{"source": "en", "target": "de"}],
            "state": "ready",
            "exported": NEW,
            "size_bytes": 7,
            "type": "int8",
        }
        assert (await listed(client))["fake0"]["default_for"] == [{"source": "de", "target": "fr"}]


# --- lazy, and in bounds --------------------------------------------------------------------------------------------


async def test_a_lazy_model_is_loaded_once_by_the_first_requests_for_it() -> None:
    async with running([EN_DE], [DE_EN], lazy=True) as (client, source, _):
        assert (await client.get("/ready")).json()["models"] == {"fake0": "unloaded", "fake1": "unloaded"}
        assert [one["code"] for one in (await client.get("/languages")).json()] == ["en", "de"]
        source.gate.clear()
        asked = [asyncio.create_task(translated(client, q=f"{n}")) for n in range(5)]
        await asyncio.sleep(0.05)
        assert (await listed(client))["fake0"]["state"] == "loading"
        assert 'nmt_model_waiting_segments{model="fake0"} 5.0' in (await client.get("/metrics")).text
        asked[0].cancel()  # the others wait for the same load
        source.gate.set()
        assert [(await one)["translatedText"] for one in asked[1:]] == ["1", "2", "3", "4"]
        assert source.loads == ["fake0"]


async def test_a_request_waits_for_a_load_until_its_deadline() -> None:
    async with running([EN_DE], lazy=True, timeout_s=0.1) as (client, source, _):
        source.gate.clear()
        assert (await client.post("/translate", json=GOOD)).status_code == 504
        source.gate.set()


async def test_waiting_for_a_load_is_bounded_and_ends_with_the_drain_time() -> None:
    async with running([EN_DE], lazy=True, queue=2, drain_s=0.1) as (client, source, service):
        source.gate.clear()
        tasks = [asyncio.create_task(client.post("/translate", json=GOOD)) for _ in range(2)]
        await asyncio.sleep(0.05)
        refused = await client.post("/translate", json=GOOD)
        assert (refused.status_code, "wait for the model fake0" in refused.json()["error"]) == (503, True)
        service.drain()
        answers = await asyncio.gather(*tasks)
        assert {answer.status_code for answer in answers} == {503}
        assert "shutting down" in answers[0].json()["error"]
        source.gate.set()


async def test_a_full_queue_does_not_refuse_requests_for_a_model_that_is_not_loaded() -> None:
    async with running([EN_DE], [DE_EN], lazy=True, queue=1, rows=1) as (client, source, _):
        await translated(client)
        source.engines["fake0"].gate.clear()
        busy = [asyncio.create_task(client.post("/translate", json=GOOD)) for _ in range(8)]
        await until(lambda: any(task.done() for task in busy))  # refused
        await translated(client, source="de", target="en")
        source.engines["fake0"].gate.set()
        answers = await asyncio.gather(*busy)
        assert {answer.status_code for answer in answers} == {200, 503}


async def test_a_lazy_model_that_cannot_be_loaded_is_named_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running([EN_DE], lazy=True) as (client, source, _):
        source.unloadable["fake0"] = ArtifactError("fake0.pt: written by another torch")
        for _ in range(3):
            answer = await client.post("/translate", json=GOOD)
            assert answer.status_code == 503
            assert answer.json()["error"] == "the model fake0 cannot be loaded: fake0.pt: written by another torch"
        assert 'nmt_model_load_failures_total{model="fake0"} 1.0' in (await client.get("/metrics")).text
        assert (await listed(client))["fake0"]["state"] == "failed"
        source.unloadable.clear()
        monkeypatch.setattr(registry, "RETRY_S", 0.3)
        with anyio.fail_after(10):
            while (
                await client.post("/translate", json=GOOD)
            ).status_code != 200:  # refused requests put it off no further
                await asyncio.sleep(0.05)


async def test_the_least_recently_used_idle_model_makes_room() -> None:
    pairs = [("a", "b"), ("b", "c"), ("c", "d")]
    async with running(*[[pair] for pair in pairs], lazy=True, max_loaded=2) as (client, source, service):
        for source_language, target in [*pairs, pairs[1], pairs[0]]:
            await translated(client, source=source_language, target=target)
        assert source.loads == ["fake0", "fake1", "fake2", "fake0"]
        states = {name: one["state"] for name, one in (await listed(client)).items()}
        assert states == {"fake0": "ready", "fake1": "ready", "fake2": "unloaded"}
        source.engines["fake0"].gate.clear()
        source.engines["fake1"].gate.clear()
        busy = [asyncio.create_task(translated(client, source=a, target=b)) for a, b in pairs[:2]]
        await until(lambda: sum(model.worker.active for model in service.models or ()) == 2)
        refused = await client.post("/translate", json={**GOOD, "source": "c", "target": "d"})
        assert refused.status_code == 503
        assert refused.json()["error"] == "no room for the model fake2 beside fake0, fake1, try again later"
        waiting = asyncio.create_task(translated(client, source="c", target="d"))
        source.engines["fake0"].gate.set()
        await waiting
        assert {name: one["state"] for name, one in (await listed(client)).items()}["fake0"] == "unloaded"
        source.engines["fake1"].gate.set()
        await asyncio.gather(*busy)


async def test_an_eager_start_loads_what_fits_the_newest_first() -> None:
    async with running([EN_DE], [DE_EN], [DE_FR], max_loaded=2) as (client, source, _):
        assert len(source.loads) == 2
        for a, b in (EN_DE, DE_EN, DE_FR):
            await translated(client, source=a, target=b)
        assert len(source.loads) >= 3


async def test_a_lazy_file_replaced_before_its_first_request_is_served_anew() -> None:
    async with running([EN_DE], lazy=True) as (client, source, service):
        with service.require().held() as models:
            source.put("fake0")
            await reload(client)
            async with models.pairs[EN_DE].use() as model:
                assert model.description == source.descriptions["fake0"]
        assert source.loads == ["fake0"]


# --- hangs, memory --------------------------------------------------------------------------------------------------


async def test_a_model_in_use_stays_even_if_no_view_holds_it() -> None:
    async with running([EN_DE]) as (client, source, service):
        assert service.models is not None
        file = service.models.pairs[EN_DE]
        async with file.use() as model:
            source.put("fake0")
            await reload(client)
            assert await model.translate(["a"], *EN_DE)
        await until(lambda: not model.worker.alive)


async def test_a_hung_step_of_a_model_that_drains_ends_the_service() -> None:
    async with running([EN_DE], hang_s=0.2) as (client, source, service):
        ended: list[str] = []
        service.on_failure = ended.append
        engine: FakeEngine = source.engines["fake0"]
        engine.gate.clear()
        task = asyncio.create_task(client.post("/translate", json=GOOD))
        await until(lambda: sum(model.worker.active for model in service.models or ()) == 1)
        source.put("fake0")
        await reload(client)
        answer = await task
        assert (answer.status_code, "did not end within" in answer.json()["error"]) == (500, True)
        await until(lambda: bool(ended))
        engine.gate.set()


async def test_a_dropped_model_is_freed_though_the_collector_ignores_it() -> None:
    async with running([EN_DE]) as (client, source, service):
        (model,) = service.models or []
        dropped = weakref.ref(model)
        del model
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            await translated(client)
            source.put("fake0")
            await reload(client)
            await until(lambda: dropped() is None)
        finally:
            gc.enable()
            gc.unfreeze()


async def test_a_late_result_of_a_thread_is_discarded_and_errors_arrive() -> None:
    gate = threading.Event()
    discarded: list[bool] = []
    with pytest.raises(TimeoutError):
        await in_thread(lambda: gate.wait(20), 0.01, discarded.append)
    gate.set()
    await until(lambda: discarded == [True])
    with pytest.raises(RuntimeError, match="SystemExit"):
        await in_thread(lambda: (_ for _ in ()).throw(SystemExit(3)))
