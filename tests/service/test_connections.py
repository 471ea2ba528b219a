"""The bounds on connections, by a clock of the test's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from service.connections import SWEEP_S, Connections

pytestmark = pytest.mark.anyio


class Fake:
    """A connection that notes when it is closed."""

    def __init__(self, busy: bool) -> None:
        self.busy = busy
        self.cycle = None
        self.closed = False
        self.transport = SimpleNamespace(abort=self.abort)

    def abort(self) -> None:
        self.closed = True


async def test_time_in_which_the_process_stood_still_closes_no_connection() -> None:
    """What was sent in that time has not been read yet."""
    now = 0.0
    connections = Connections(10, idle_s=10.0, busy_s=60.0, clock=lambda: now)
    silent: Any = Fake(busy=False)
    asking: Any = Fake(busy=True)
    connections.opened(silent)
    connections.opened(asking)
    now += 300.0
    connections._sweep()
    assert not silent.closed
    while now < 309.0:
        now += SWEEP_S
        connections._sweep()
    assert not silent.closed
    while now < 313.0:
        now += SWEEP_S
        connections._sweep()
    assert silent.closed
    assert not asking.closed
