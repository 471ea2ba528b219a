"""A load generator for the service: HTTP requests at random times that do not wait for the answers.

Written for little work a request, because it shares the cores with the service that it measures: requests are bytes
made before, and only the status, the length and the time of an answer are read.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast


@dataclass(frozen=True)
class Answer:
    """What became of a request: when it was due and answered (seconds), and its status, 0 for a lost connection."""

    due: float
    at: float
    status: int

    @property
    def ms(self) -> float:
        return 1e3 * (self.at - self.due)


class Connection(asyncio.Protocol):
    """A connection with at most one request under way."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.due: float | None = None
        self.received = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self.received = b""
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]):
            self.load.answered(self, int(head[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        if self.due is not None:
            self.load.answered(self, 0)


class Load:
    """Requests of one client, from the loopback address `source`, and what became of them."""

    def __init__(self, port: int, requests: Sequence[bytes], source: str = "127.0.0.1") -> None:
        self.port = port
        self.requests = requests
        self.source = source
        self.answers: list[Answer] = []
        self.late_ms: list[float] = []  # by how much requests were sent after their time: this process was busy
        self.open = 0
        self.idle: list[Connection] = []
        self._answered: asyncio.Future[None] | None = None

    def answered(self, connection: Connection, status: int) -> None:
        assert connection.due is not None
        self.answers.append(Answer(connection.due, time.perf_counter(), status))
        connection.due = None
        self.open -= 1
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)
        if not connection.transport.is_closing():
            self.idle.append(connection)

    async def send(self, request: bytes, due: float | None = None) -> None:
        """Send a request on a free connection, or a new one."""
        due = time.perf_counter() if due is None else due
        self.open += 1
        while self.idle and self.idle[-1].transport.is_closing():
            self.idle.pop()
        if self.idle:
            connection = self.idle.pop()
        else:
            loop = asyncio.get_running_loop()
            address = "127.0.0.1", self.port
            _, connection = await loop.create_connection(
                lambda: Connection(self), *address, local_addr=(self.source, 0)
            )
        self.late_ms.append(1e3 * (time.perf_counter() - due))
        connection.send(request, due)
        if connection.transport.is_closing():  # it was lost before the request was written, so nothing will report it
            connection.connection_lost(None)

    async def poisson(self, rate: float, seconds: float, seed: int = 1) -> Result:
        """Send `rate` requests a second for `seconds`; return what became of them once all are answered."""
        draw = random.Random(seed)
        self._clear()
        due = began = time.perf_counter()
        while due < began + seconds:
            while due <= min(time.perf_counter(), began + seconds):
                await self.send(draw.choice(self.requests), due)
                due += draw.expovariate(rate)
            await asyncio.sleep(due - time.perf_counter())
        return await self._result(began, seconds)

    async def one_by_one(self, seconds: float = float("inf"), count: int = 10**9) -> Result:
        """Send requests, each after the answer to the one before, so many or for so long."""
        self._clear()
        began = time.perf_counter()
        for n in range(count):
            if time.perf_counter() - began > seconds:
                break
            self._answered = asyncio.get_running_loop().create_future()
            await self.send(self.requests[n % len(self.requests)])
            await self._answered
        return await self._result(began, time.perf_counter() - began)

    def _clear(self) -> None:
        self.answers.clear()
        self.late_ms.clear()

    async def _result(self, began: float, seconds: float) -> Result:
        while self.open:
            await asyncio.sleep(0.005)
        return Result(list(self.answers), began, seconds, quantile(self.late_ms, 99))


@dataclass(frozen=True)
class Result:
    """The answers to the requests that were sent in `seconds` from `began` on."""

    answers: Sequence[Answer]
    began: float
    seconds: float
    late_p99_ms: float

    def ms(self, status: int = 200) -> list[float]:
        """Times of the answers with a status."""
        return [answer.ms for answer in self.answers if answer.status == status] or [0.0]

    def counts(self) -> dict[str, int]:
        """Number of answers of each kind, for a line of the benchmark."""
        of = Counter(answer.status for answer in self.answers)
        others = len(self.answers) - of[200] - of[503] - of[504]
        return {"served": of[200], "refused": of[503], "expired": of[504], "failed": others}

    @property
    def throughput(self) -> float:
        """Answers 200 a second, without the first fifth of the time, in which the queue fills, and what came later."""
        first, last = self.began + self.seconds / 5, self.began + self.seconds
        return sum(answer.status == 200 and first <= answer.at < last for answer in self.answers) / (last - first)


def quantile(values: Sequence[float], percent: int) -> float:
    """The value that so many per cent of the values are below."""
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)] if values else 0.0


def times(values: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile, for a line of the benchmark."""
    return {"p50_ms": statistics.median(values), "p99_ms": quantile(values, 99)}


def http_request(q: str | Sequence[str], pair: str, **fields: object) -> bytes:
    """The bytes of a request for a translation."""
    source, target = pair.split("-")
    body = json.dumps({"q": q, "source": source, "target": target, **fields}).encode()
    head = f"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body
