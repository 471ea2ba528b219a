"""Workers over fake engines."""

from __future__ import annotations

from typing import Any

from service.worker import Worker
from tests.service.fakes import FakeEngine, FakeRequest, until


class Bench:
    """A worker over a fake engine."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.workers: list[Worker] = []
        self.keys = iter(range(10**9))

    def start(self, **options: Any) -> Worker:
        """Start a worker with these options."""
        worker = Worker(lambda: self.engine, **{"rows": 8, "capacity": 100, **options})
        worker.start()
        self.workers.append(worker)
        return worker

    def requests(self, *texts: str) -> list[FakeRequest]:
        """Build a request per text."""
        return [FakeRequest(next(self.keys), text, 0) for text in texts]


class Timed:
    """A worker over an engine that translates two segments of one piece in a second, by a clock of its own."""

    def __init__(self, bench: Bench, **options: Any) -> None:
        self.now = 0.0
        self.bench = bench
        bench.engine.steps = 1
        step = bench.engine.step

        def slow_step() -> int:
            self.now += 0.5
            return step()

        bench.engine.step = slow_step  # type: ignore[method-assign]
        self.worker = bench.start(**{"rows": 1, "clock": lambda: self.now, **options})

    async def measured(self) -> Worker:
        """Return the worker once it knows its speed; its engine stands still now."""
        assert self.worker.predict(1000) == 0.0  # nothing is known yet, so nothing is refused
        await self.worker.submit(self.bench.requests(*"abcd"))
        await until(lambda: self.worker.speed > 1.0)
        self.bench.engine.gate.clear()
        return self.worker
