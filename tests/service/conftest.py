"""Fixtures of the service's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service.bench import Bench


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio only, as the server does."""
    return "asyncio"


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench whose workers are stopped afterwards."""
    bench = Bench()
    yield bench
    bench.engine.gate.set()
    for worker in bench.workers:
        worker.stop(10)
