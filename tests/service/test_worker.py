"""The worker: requests share steps, and every future ends, whatever fails."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from service.errors import EngineFailed, Unavailable
from service.worker import RESTARTS, Worker
from tests.service.bench import Bench, Timed
from tests.service.fakes import CRASH, POISON, FakeEngine, until

pytestmark = pytest.mark.anyio


def texts(results: list[Any]) -> list[str]:
    return [result.text for result in results]


async def test_results_come_in_the_order_of_the_requests(bench: Bench) -> None:
    worker = bench.start()
    assert texts(await worker.submit(bench.requests("a", "b", "c"))) == ["A", "B", "C"]
    assert await worker.submit([]) == []


async def test_requests_share_steps(bench: Bench) -> None:
    bench.engine.gate.clear()
    worker = bench.start(rows=64)
    first = worker.submit(bench.requests("first"))
    await until(lambda: worker.active == 1)
    futures = [worker.submit(bench.requests(f"r{n}")) for n in range(50)]
    bench.engine.gate.set()
    await asyncio.gather(first, *futures)
    # one by one, 51 requests would take 153 steps; here 50 join the first one at its second step
    assert len(bench.engine.batches) <= 5
    assert max(bench.engine.batches) >= 50


async def test_a_long_document_does_not_hold_up_the_others(bench: Bench) -> None:
    bench.engine.gate.clear()
    worker = bench.start(rows=2)
    document = worker.submit(bench.requests(*(f"page {n}" for n in range(40))))
    short = worker.submit(bench.requests("short"))
    bench.engine.gate.set()
    await short
    assert bench.engine.added.index("short") <= 3
    assert len(await document) == 40


async def test_a_full_queue_refuses_at_once_and_says_when(bench: Bench) -> None:
    bench.engine.gate.clear()
    worker = bench.start(rows=1, capacity=3)
    running = worker.submit(bench.requests("running"))
    await until(lambda: worker.active == 1)
    waiting = [worker.submit(bench.requests(text)) for text in "abc"]
    with pytest.raises(Unavailable) as refused:
        worker.submit(bench.requests("d"))
    assert 1 <= (refused.value.retry_after or 0) <= 60
    with pytest.raises(Unavailable), worker.reserve(1, 1):
        pytest.fail("no room to reserve")
    bench.engine.gate.set()
    await asyncio.gather(running, *waiting)
    assert worker.waiting == 0


async def test_text_in_preparation_counts_as_waiting(bench: Bench) -> None:
    worker = bench.start(capacity=3)
    with worker.reserve(2, 2):
        assert worker.waiting == 2
        with pytest.raises(Unavailable), worker.reserve(2, 2):
            pytest.fail("no room to reserve")
    assert worker.waiting == 0


async def test_a_request_larger_than_the_queue_is_served_when_nothing_waits(bench: Bench) -> None:
    worker = bench.start(rows=2, capacity=3)
    assert len(await worker.submit(bench.requests(*"abcdefgh"))) == 8


async def test_the_predicted_time_follows_the_measured_speed(bench: Bench) -> None:
    worker = await Timed(bench).measured()
    assert worker.predict(10) == pytest.approx(5.0)
    waiting = worker.submit(bench.requests(*"abcdef"))
    assert worker.predict(10) == pytest.approx(8.0)
    with worker.reserve(1, 4):
        assert worker.predict(10) == pytest.approx(10.0)
    worker.forget_speed()
    assert worker.predict(10) == 0.0
    waiting.cancel()


async def test_a_request_that_would_be_late_is_refused_at_once(bench: Bench) -> None:
    worker = await Timed(bench, timeout_s=15.0).measured()
    accepted = [worker.submit(bench.requests("s")) for _ in range(20)]  # 10 s of work, and that half as much again
    with pytest.raises(Unavailable, match="within 15 seconds") as refused:
        worker.submit(bench.requests("s"))
    assert refused.value.retry_after == 1
    with pytest.raises(Unavailable) as refused, worker.reserve(1, 40):  # before its text is prepared
        pytest.fail("no time for it")
    assert refused.value.retry_after == 30
    assert worker.waiting + worker.active == 20
    accepted.append(worker.submit(bench.requests("half", "half"), accepted=True))  # the second search of a request
    bench.engine.gate.set()
    await asyncio.gather(*accepted)
    await worker.submit(bench.requests("s"))


async def test_a_long_document_leaves_time_and_room_to_the_others(bench: Bench) -> None:
    worker = await Timed(bench, timeout_s=60.0, capacity=30).measured()
    document = worker.submit(bench.requests(*"d" * 40))  # of 20 s, and larger than the queue
    await until(lambda: worker.active == 1)
    others = [worker.submit(bench.requests("s")) for _ in range(4)]
    bench.engine.added.clear()
    bench.engine.gate.set()
    await asyncio.gather(document, *others)
    # Its next segment is due 0.75 s after the one before, since it has half of its 60 s; the others are due as often.
    assert bench.engine.added[:7].count("s") == 4


async def test_a_document_is_not_held_up_by_what_comes_later(bench: Bench) -> None:
    timed = Timed(bench, timeout_s=1000.0)
    worker = await timed.measured()
    document = worker.submit(bench.requests(*"d" * 10))
    await until(lambda: worker.active == 1)
    others = []
    for _ in range(30):  # as many as the engine translates, all the time
        timed.now += 0.5
        others.append(worker.submit(bench.requests("s")))
    bench.engine.added.clear()
    bench.engine.gate.set()
    await asyncio.gather(document, *others)
    assert bench.engine.added.index("d") <= 3
    assert max(n for n, text in enumerate(bench.engine.added) if text == "d") < 30


async def test_cancelled_requests_give_up_their_slots(bench: Bench) -> None:
    bench.engine.gate.clear()
    worker = bench.start(rows=2)
    requests = bench.requests("gone", "gone too", "gone while waiting")
    gone = worker.submit(requests)
    await until(lambda: worker.active == 2)
    gone.cancel()
    stays = worker.submit(bench.requests("stays"))
    bench.engine.gate.set()
    assert texts(await stays) == ["STAYS"]
    await until(lambda: worker.active == 0)
    assert bench.engine.cancelled == [requests[0].key, requests[1].key]
    assert "gone while waiting" not in bench.engine.added
    assert worker.waiting == 0


async def test_an_error_of_the_engine_concerns_its_request_only(bench: Bench) -> None:
    worker = bench.start()
    good, bad, more = (worker.submit(bench.requests(*part)) for part in (["a"], ["b", POISON], ["c", "d"]))
    assert texts(await good) == ["A"]
    assert texts(await more) == ["C", "D"]
    with pytest.raises(EngineFailed):
        await bad
    assert worker.alive


async def test_after_a_failed_step_the_worker_goes_on(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    worker = bench.start()
    with pytest.raises(EngineFailed, match="the translation failed"):  # the cause is not exposed
        await worker.submit(bench.requests(CRASH))
    assert "step failed" in caplog.text
    assert texts(await worker.submit(bench.requests("next"))) == ["NEXT"]
    assert worker.alive


async def test_an_engine_that_cannot_be_cleared_is_replaced(bench: Bench) -> None:
    engines: list[FakeEngine] = []

    def make() -> FakeEngine:
        engines.append(FakeEngine())
        if len(engines) == 1:
            engines[0].cancel = lambda key: 1 / 0  # type: ignore[assignment]
        return engines[-1]

    worker = Worker(make, rows=4, capacity=10)
    worker.start()
    bench.workers.append(worker)
    with pytest.raises(EngineFailed):
        await worker.submit(bench.requests(CRASH))
    assert texts(await worker.submit(bench.requests("next"))) == ["NEXT"]
    assert len(engines) == 2


async def test_a_lost_engine_is_replaced_and_its_requests_get_an_error(bench: Bench) -> None:
    engines: list[FakeEngine] = []

    def make() -> FakeEngine:
        engines.append(FakeEngine(broken=SystemExit if len(engines) < RESTARTS else None))
        return engines[-1]

    worker = Worker(make, rows=1, capacity=10)
    worker.start()
    bench.workers.append(worker)
    futures = [worker.submit(bench.requests(text, text)) for text in "abcd"]
    for future in futures[:RESTARTS]:
        with pytest.raises(EngineFailed, match="the translation failed"):
            await future
    assert texts(await futures[-1]) == ["D", "D"]
    assert worker.alive
    assert len(engines) == RESTARTS + 1
    assert worker.waiting == worker.active == 0


@pytest.mark.parametrize("when", ["at work", "while building"])
async def test_a_worker_that_loses_its_engines_leaves_nobody_waiting(bench: Bench, when: str) -> None:
    bench.engine.gate.clear()

    def make() -> FakeEngine:
        if when == "while building":
            bench.engine.gate.wait(10)
            raise SystemExit("no engine")
        bench.engine.active.clear()  # as in a new one
        return bench.engine

    worker = Worker(make, rows=1, capacity=10)
    worker.start()
    bench.workers.append(worker)
    futures = [worker.submit(bench.requests(text)) for text in "abcdef"]
    bench.engine.broken = SystemExit
    bench.engine.gate.set()
    for future in futures:
        with pytest.raises(EngineFailed):
            await future
    await until(lambda: not worker.alive)
    assert worker.failure is not None
    with pytest.raises(Unavailable):
        worker.submit(bench.requests("c"))


async def test_an_engine_lost_while_it_takes_a_request_loses_none(bench: Bench) -> None:
    worker = bench.start()
    bench.engine.add = lambda request: exec("raise SystemExit")  # type: ignore[method-assign]
    with pytest.raises(EngineFailed):
        await worker.submit(bench.requests("a"))


async def test_a_hung_step_is_noticed_and_its_requests_get_an_error(bench: Bench) -> None:
    bench.engine.gate.clear()
    worker = bench.start(rows=1)
    await asyncio.sleep(0.05)
    assert not worker.hung(0.02)  # an idle worker does not hang
    futures = [worker.submit(bench.requests(text)) for text in "ab"]
    await until(lambda: worker.hung(0.02))
    assert not worker.hung(20.0)
    worker.give_up("hung")
    for future in futures:
        with pytest.raises(EngineFailed, match="stopped: hung"):
            await future
    with pytest.raises(Unavailable):
        worker.submit(bench.requests("c"))


async def test_stop_finishes_what_was_accepted(bench: Bench) -> None:
    bench.engine.gate.clear()
    worker = bench.start(rows=1)
    futures = [worker.submit(bench.requests("a", "b")), worker.submit(bench.requests("c"))]
    threading.Timer(0.05, bench.engine.gate.set).start()
    assert await asyncio.to_thread(worker.stop, 10)
    assert [texts(await future) for future in futures] == [["A", "B"], ["C"]]
    with pytest.raises(Unavailable):
        worker.submit(bench.requests("late"))


async def test_stop_answers_what_it_cannot_finish(bench: Bench) -> None:
    bench.engine.gate.clear()
    worker = bench.start(rows=1)
    futures = [worker.submit(bench.requests("a")), worker.submit(bench.requests("b"))]
    await until(lambda: worker.active == 1)
    assert not await asyncio.to_thread(worker.stop, 0.05)
    for future in futures:
        with pytest.raises(Unavailable):
            await future


class Several:
    """A worker over several fake engines."""

    def __init__(self, count: int = 2, **options: Any) -> None:
        self.engines: list[FakeEngine] = []
        self.broken: type[BaseException] | None = None  # what later engines raise
        self.gate = threading.Event()
        self.gate.set()
        self.worker = Worker(self.make, engines=count, **{"rows": 8, "capacity": 1000, **options})
        self.worker.start()

    def make(self) -> FakeEngine:
        self.engines.append(FakeEngine(gate=self.gate, broken=self.broken))
        self.gate.set()  # which FakeEngine opens: a test closes it once all engines are there
        return self.engines[-1]

    def added(self) -> list[str]:
        return [text for engine in self.engines for text in engine.added]


async def several(count: int = 2, **options: Any) -> Several:
    bench = Several(count, **options)
    await until(lambda: len(bench.engines) == count)
    return bench


async def test_several_engines_share_the_work_and_keep_the_order(bench: Bench) -> None:
    many = await several(3)
    bench.workers.append(many.worker)
    jobs = [[f"{n} {part}" for part in range(n % 4)] for n in range(60)]
    many.gate.clear()
    futures = [many.worker.submit(bench.requests(*job)) for job in jobs]
    await until(lambda: many.worker.active == 30)
    many.gate.set()
    assert [texts(await future) for future in futures] == [[text.upper() for text in job] for job in jobs]
    assert sorted(many.added()) == sorted(text for job in jobs for text in job)  # each once
    assert all(engine.added for engine in many.engines)
    assert many.worker.waiting == many.worker.active == 0


async def test_no_engine_takes_more_than_an_even_share(bench: Bench) -> None:
    many = await several(rows=64)
    bench.workers.append(many.worker)
    many.gate.clear()
    future = many.worker.submit(bench.requests(*(f"r{n}" for n in range(40))))
    await until(lambda: many.worker.waiting == 0)
    assert [len(engine.added) for engine in many.engines] == [20, 20]
    many.gate.set()
    assert len(await future) == 40


async def test_a_job_in_two_engines_is_cancelled_in_both(bench: Bench) -> None:
    many = await several(rows=2)
    bench.workers.append(many.worker)
    many.gate.clear()
    requests = bench.requests(*"abcdef")
    future = many.worker.submit(requests)
    await until(lambda: many.worker.active == 4)
    future.cancel()
    await asyncio.sleep(0)
    many.gate.set()
    await until(lambda: many.worker.active + many.worker.waiting == 0)
    assert all(len(engine.cancelled) == 2 for engine in many.engines)
    assert len(many.added()) == 4
    assert texts(await many.worker.submit(bench.requests("next"))) == ["NEXT"]


async def test_a_failed_step_leaves_the_other_engine_alone(bench: Bench) -> None:
    many = await several(rows=1)
    bench.workers.append(many.worker)
    many.gate.clear()
    bad, good = (many.worker.submit(bench.requests(text)) for text in (CRASH, "good"))
    await until(lambda: many.worker.active == 2)
    many.gate.set()
    with pytest.raises(EngineFailed):
        await bad
    assert texts(await good) == ["GOOD"]
    assert many.worker.alive


async def test_a_dead_thread_of_several_leaves_nobody_waiting(bench: Bench) -> None:
    many = await several(rows=1)
    bench.workers.append(many.worker)
    many.gate.clear()
    futures = [many.worker.submit(bench.requests(text)) for text in "abcdef"]
    await until(lambda: many.worker.active == 2)
    for engine in many.engines:
        engine.broken = SystemExit
    many.broken = SystemExit
    many.gate.set()
    for future in futures:
        done, _ = await asyncio.wait([future], timeout=10)
        assert done
    assert any(isinstance(future.exception(), EngineFailed) for future in futures)
    await until(lambda: not many.worker.alive)
    with pytest.raises(Unavailable):
        many.worker.submit(bench.requests("late"))


async def test_stop_finishes_what_several_engines_have(bench: Bench) -> None:
    many = await several(rows=1)
    many.gate.clear()
    futures = [many.worker.submit(bench.requests("a", "b", "c")), many.worker.submit(bench.requests("d"))]
    threading.Timer(0.05, many.gate.set).start()
    assert await asyncio.to_thread(many.worker.stop, 10)
    assert [texts(await future) for future in futures] == [["A", "B", "C"], ["D"]]
