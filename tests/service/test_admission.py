"""Admission and shares: by the request's own deadline, by client, by priority."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.context import Context, begin, current
from service.errors import Unavailable
from service.worker import Worker
from tests.service.bench import Bench, Timed
from tests.service.fakes import client_of, fake_app, until

pytestmark = pytest.mark.anyio


def submit(bench: Bench, worker: Worker, client: str, texts: str, **more: Any) -> asyncio.Future[list[Any]]:
    """Submit a request of a client, with a segment for each letter."""
    begin(Context(client=client, **more))
    return worker.submit(bench.requests(*texts))


async def order(bench: Bench, *futures: asyncio.Future[list[Any]]) -> str:
    """Let the engine run; return the segments in the order in which it got them."""
    bench.engine.added.clear()
    bench.engine.gate.set()
    await asyncio.gather(*futures)
    return "".join(bench.engine.added)


async def test_a_request_is_refused_by_its_own_deadline(bench: Bench) -> None:
    timed = Timed(bench, timeout_s=60.0)
    worker = await timed.measured()
    accepted = [submit(bench, worker, "a", "s") for _ in range(8)]  # 4 s of work
    with pytest.raises(Unavailable, match="within 5 seconds") as refused:
        submit(bench, worker, "a", "s", ends=timed.now + 5.0)
    assert refused.value.retry_after == 2  # 1.5 times 4.5 s, less 5 s
    with pytest.raises(Unavailable), worker.reserve(1, 1):  # before its text is prepared
        pytest.fail("no time for it")
    accepted.append(submit(bench, worker, "b", "s", ends=timed.now + 5.0))  # another client has its share
    await order(bench, *accepted)


async def test_an_idle_worker_tries_what_it_can(bench: Bench) -> None:
    timed = Timed(bench, timeout_s=60.0)
    worker = await timed.measured()
    first = submit(bench, worker, "a", "s" * 100, ends=timed.now + 0.1)
    with pytest.raises(Unavailable):  # but no more than that
        submit(bench, worker, "a", "s", ends=timed.now + 0.1)
    await order(bench, first)


async def test_clients_share_the_speed(bench: Bench) -> None:
    worker = await Timed(bench, timeout_s=1000.0).measured()
    many = [submit(bench, worker, "a", "a") for _ in range(40)]
    await until(lambda: worker.active == 1)
    few = [submit(bench, worker, "b", "b") for _ in range(10)]
    one = submit(bench, worker, "c", "c")
    served = await order(bench, *many, *few, one)
    assert served.index("c") <= 5  # the first of its client is due at once, as is the first of b
    assert served.rindex("b") <= 32  # each gets a half or more, and not what a sent before comes first


async def test_the_share_of_a_client_is_not_larger_with_more_requests(bench: Bench) -> None:
    worker = await Timed(bench, timeout_s=1000.0).measured()
    blocking = submit(bench, worker, "x", "x")
    await until(lambda: worker.active == 1)
    futures = []
    for _ in range(12):
        futures += [submit(bench, worker, "a", "a") for _ in range(3)] + [submit(bench, worker, "b", "b")]
    served = await order(bench, blocking, *futures)
    assert 8 <= served[:24].count("b") <= 12


async def test_the_queue_is_shared_when_several_clients_wait(bench: Bench) -> None:
    worker = await Timed(bench, timeout_s=1000.0, capacity=12).measured()
    accepted = [submit(bench, worker, "a", "a")]
    await until(lambda: worker.active == 1)
    accepted += [submit(bench, worker, "a", "a") for _ in range(12)]
    with pytest.raises(Unavailable, match="queue is full") as refused:
        submit(bench, worker, "a", "a")
    assert refused.value.retry_after == 1  # one must go, of half a second
    accepted += [submit(bench, worker, "b", "b") for _ in range(6)]
    with pytest.raises(Unavailable):
        submit(bench, worker, "b", "b")
    accepted += [submit(bench, worker, "c", "c") for _ in range(4)]
    with pytest.raises(Unavailable):
        submit(bench, worker, "c", "c")
    await order(bench, *accepted)


async def test_a_further_search_of_an_accepted_request_is_not_refused(bench: Bench) -> None:
    worker = await Timed(bench, capacity=1).measured()
    first = submit(bench, worker, "a", "a")
    await until(lambda: worker.active == 1)
    accepted = current()
    full = submit(bench, worker, "a", "a")
    with pytest.raises(Unavailable):
        submit(bench, worker, "a", "a")
    begin(accepted)
    with worker.reserve(1, 1):
        second = worker.submit(bench.requests("b"))
    await order(bench, first, full, second)


async def test_bulk_gets_what_is_left_and_never_starves(bench: Bench) -> None:
    timed = Timed(bench, timeout_s=1000.0)
    worker = await timed.measured()
    futures = [submit(bench, worker, "a", "b" * 40, bulk=True)]
    await until(lambda: worker.active == 1)
    for _ in range(60):  # as many as the engine translates, all the time
        timed.now += 0.5
        futures.append(submit(bench, worker, "a", "s"))
    served = await order(bench, *futures)
    assert 4 <= served[:60].count("b") <= 8  # a tenth, less the slack
    assert served[-30:] == "b" * 30


async def test_large_jobs_leave_rows_to_small_ones(bench: Bench) -> None:
    worker = bench.start(rows=10)
    await submit(bench, worker, "b", "s")
    await until(lambda: worker.speed > 0 and worker.rows_in_use == 0)
    bench.engine.gate.clear()
    large = submit(bench, worker, "a", "d" * 40)
    await until(lambda: worker.rows_in_use > 0)
    assert worker.active == 4
    small = [submit(bench, worker, "b", "s") for _ in range(3)]
    await order(bench, large, *small)


async def test_a_large_job_alone_takes_all_rows(bench: Bench) -> None:
    bench.engine.gate.clear()
    worker = bench.start(rows=8)
    large = submit(bench, worker, "a", "d" * 40)
    await until(lambda: worker.rows_in_use > 0)
    assert worker.active == 10  # and a quarter more, for the engine to choose from
    await order(bench, large)


BODY = {"q": "a", "source": "en", "target": "de"}


async def test_a_refusal_does_not_wait_for_the_body(bench: Bench) -> None:
    bench.engine.gate.clear()
    bodies = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal bodies
        bodies += 1
        yield b"{"
        await asyncio.sleep(60)

    async with client_of(fake_app(bench.engine, queue=1, rows=1)) as client:
        busy = []
        for n in range(2):  # one in the engine, and one in the queue
            busy.append(asyncio.create_task(client.post("/translate", json=BODY)))
            await until(lambda n=n: len(bench.engine.active) == 1 and metric(client) == 1 + n)  # type: ignore[misc]
        answer = await client.post("/translate", content=endless(), headers={"Content-Type": "application/json"})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert bodies == 0
        bench.engine.gate.set()
        assert [(await one).status_code for one in busy] == [200, 200]


def metric(client: Any) -> int:
    """Segments that wait or are translated."""
    (model,) = client._transport.app.state.service.models
    return int(model.worker.waiting + model.worker.active)


async def test_the_deadline_of_a_request_reaches_the_admission(bench: Bench) -> None:
    bench.engine.step_s = 0.05
    async with client_of(fake_app(bench.engine, rows=1)) as client:
        assert (await client.post("/translate", json=BODY)).status_code == 200
        bench.engine.gate.clear()
        busy = asyncio.create_task(client.post("/translate", json=BODY))
        await until(lambda: metric(client) == 1)
        refused = await client.post("/translate", json={**BODY, "deadline_ms": 20})
        assert refused.status_code == 503
        assert "within 0.02 seconds" in refused.json()["error"]
        bench.engine.gate.set()
        assert (await busy).status_code == 200


@pytest.mark.parametrize(("priority", "status"), [("bulk", 200), ("normal", 200), ("urgent", 400), (["bulk"], 400)])
async def test_priorities(bench: Bench, priority: Any, status: int) -> None:
    async with client_of(fake_app(bench.engine)) as client:
        assert (await client.post("/translate", json={**BODY, "priority": priority})).status_code == status


async def test_more_requests_than_connections_are_refused_with_an_answer(bench: Bench) -> None:
    bench.engine.gate.clear()
    app = fake_app(bench.engine)
    app.state.most_requests = 2
    async with client_of(app) as client:
        busy = [asyncio.create_task(client.post("/translate", json=BODY)) for _ in range(2)]
        await until(lambda: metric(client) == 2)
        assert (await client.post("/translate", json=BODY)).status_code == 503
        bench.engine.gate.set()
        assert [(await one).status_code for one in busy] == [200, 200]
        assert (await client.post("/translate", json=BODY)).status_code == 200
