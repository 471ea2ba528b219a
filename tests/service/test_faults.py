"""Faults under load, in a real process with a real model: each request gets exactly one answer, its own."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx
import pytest

from service.server import EXIT_BROKEN
from tests.service.test_server import metrics, model, server, wait_for  # noqa: F401

pytestmark = pytest.mark.slow

WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog")


@dataclass
class Load:
    """Clients that send requests without a pause, each over a connection of its own, until they are told to end."""

    port: int
    statuses: Counter[int] = field(default_factory=Counter)  # 0: the connection was refused or reset without an answer
    unanswered: list[float] = field(default_factory=list)  # when those were sent
    gone: int = 0
    ended: bool = False

    async def run(self, clients: int = 8, impatient: int = 0) -> None:
        """Send until `ended`; so many further clients leave before their answers."""
        await asyncio.gather(*(self.client(n, leaves=n >= clients) for n in range(clients + impatient)))

    async def client(self, number: int, *, leaves: bool) -> None:
        draw = random.Random(number)
        while not self.ended:
            text = " ".join(draw.choices(WORDS, k=draw.randrange(1, 30)))
            sent = time.monotonic()
            try:
                answer = await asyncio.wait_for(self.ask(text, leaves=leaves), 30)
            except OSError:
                answer = b""
            if leaves:
                self.gone += 1
                continue
            status = check(answer, text)
            self.statuses[status] += 1
            if not status:
                self.unanswered.append(sent)
                await asyncio.sleep(0.02)

    async def ask(self, text: str, *, leaves: bool) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            body = json.dumps({"q": text, "source": "en", "target": "de"}).encode()
            head = "POST /translate HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json"
            writer.write(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
            if leaves:
                await asyncio.sleep(0.01)
                return b""
            return await reader.read()
        finally:
            writer.close()


def check(answer: bytes, text: str) -> int:
    """Return the status of an answer: whole, the only one, and for a translation the one of this text; 0 for none."""
    if not answer:
        return 0
    head, _, body = answer.partition(b"\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    status, content = int(head[9:12]), json.loads(body)
    assert content == {"translatedText": text} if status == 200 else set(content) == {"error"}
    return status


@contextmanager
def faulty(model: Path, orders: Path, **settings: Any) -> Iterator[tuple[Popen[str], httpx.Client]]:  # noqa: F811
    given = {"models": str(model), "orders": str(orders), **settings}
    code = f"import sys; from tests.service.faulty import serve_faulty; sys.exit(serve_faulty({{port}}, **{given!r}))"
    with server("-c", code) as running:
        yield running


async def under(port: int, event: Any, *, before: float = 1.0, after: float = 2.0, **load: int) -> Load:
    """Send requests for some seconds before and after an event."""
    sending = Load(port)
    running = asyncio.create_task(sending.run(**load))
    await asyncio.sleep(before)
    await asyncio.to_thread(event)
    await asyncio.sleep(after)
    sending.ended = True
    await running
    return sending


@pytest.mark.parametrize("fault", ["fail", "exit", "slow"])
def test_a_fault_in_an_engine_costs_its_own_requests_only(model: Path, tmp_path: Path, fault: str) -> None:  # noqa: F811
    orders = tmp_path / "orders"
    with faulty(model, orders) as (process, client):

        def order() -> None:
            orders.write_text(fault)
            wait_for(lambda: not orders.exists())

        sent = asyncio.run(under(int(client.base_url.port or 0), order))
        assert client.get("/health").status_code == 200
        assert process.poll() is None
    assert sent.statuses.keys() <= {200, 500}
    assert sent.statuses[200] > 10
    assert (1 <= sent.statuses[500] <= 8) == (fault != "slow")  # no more than were in the engine


def test_a_hung_step_answers_everybody_and_ends_the_process(model: Path, tmp_path: Path) -> None:  # noqa: F811
    orders = tmp_path / "orders"
    with faulty(model, orders, hang_s=1.0) as (process, client):
        hung: list[float] = []

        def order() -> None:
            orders.write_text("hang")
            wait_for(lambda: not orders.exists())
            hung.append(time.monotonic())
            process.wait(30)

        sent = asyncio.run(under(int(client.base_url.port or 0), order, after=0.1))
        assert process.returncode == EXIT_BROKEN
    assert sent.statuses[200] > 10
    assert sent.statuses[500] >= 1
    assert sent.statuses.keys() <= {0, 200, 500, 503}
    assert min(sent.unanswered, default=hung[0] + 1.0) > hung[0] + 0.9  # only what came when the process was ending


def test_sigterm_under_load(model: Path, tmp_path: Path) -> None:  # noqa: F811
    with faulty(model, tmp_path / "orders") as (process, client):
        told: list[float] = []

        def terminate() -> None:
            told.append(time.monotonic())
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0

        sent = asyncio.run(under(int(client.base_url.port or 0), terminate, after=0.1))
    assert sent.statuses[200] > 10
    assert sent.statuses.keys() <= {0, 200, 503}
    assert min(sent.unanswered, default=told[0]) >= told[0]


def test_clients_that_leave_cost_the_others_nothing(model: Path, tmp_path: Path) -> None:  # noqa: F811
    with faulty(model, tmp_path / "orders") as (_, client):
        sent = asyncio.run(under(int(client.base_url.port or 0), lambda: None, impatient=8))
        wait_for(lambda: metrics(client)["nmt_active_segments"] + metrics(client)["nmt_waiting_segments"] == 0)
    assert sent.gone > 20
    assert sent.statuses.keys() == {200}
    assert sent.statuses[200] > 10


def test_a_full_disk_for_the_log(model: Path, tmp_path: Path) -> None:  # noqa: F811
    given = {"models": str(model), "orders": str(tmp_path / "orders"), "access_log": True, "log_level": "debug"}
    code = (
        "import os, sys; os.dup2(os.open('/dev/full', os.O_WRONLY), 2); "
        f"from tests.service.faulty import serve_faulty; sys.exit(serve_faulty({{port}}, **{given!r}))"
    )
    with server("-c", code) as (process, client):

        def fail() -> None:
            (tmp_path / "orders").write_text("fail")
            wait_for(lambda: not (tmp_path / "orders").exists())

        sent = asyncio.run(under(int(client.base_url.port or 0), fail))
        assert client.get("/health").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert sent.statuses.keys() <= {200, 500}
    assert sent.statuses[200] > 10
