"""Speed of the service: `python -m tests.benchmarks.bench_service MODEL TEXT` prints one JSON line for each case.

The service runs as a process of its own; this process sends requests of one line of TEXT each, over connections that
are kept open, at random (Poisson) times that do not wait for the answers. Cases:

    engine      sentences per second of the bare search, the same one as the service's, before the service starts
    idle        one request at a time
    capacity    requests at the rate of the bare engine; the throughput is the service's capacity
    0.7, 1.5, 3 requests at these multiples of the capacity

`over_engine` is the throughput over that of the bare engine in the same run. `client_cores` and `service_cores` are the
processor seconds per second that this process and the service take: both use the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.request import urlopen

QUANTILES = (50, 90, 99)


class Connection(asyncio.Protocol):
    """A connection with at most one request under way."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.began = 0.0
        self.received = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, request: bytes) -> None:
        self.began = time.perf_counter()
        self.received = b""
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return
        size = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) >= int(size):
            self.load.answered(self, int(head[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        if self.began:
            self.load.answered(self, 0)


class Load:
    """Requests at Poisson times, and what became of them."""

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self.port = port
        self.requests = requests
        self.idle: list[Connection] = []
        self.answers: list[tuple[float, float, int]] = []  # time of the answer, seconds it took, status
        self.open = 0

    def answered(self, connection: Connection, status: int) -> None:
        now = time.perf_counter()
        self.answers.append((now, now - connection.began, status))
        connection.began = 0.0
        self.open -= 1
        if not connection.transport.is_closing():
            self.idle.append(connection)

    async def send(self, request: bytes) -> None:
        self.open += 1
        while self.idle and self.idle[-1].transport.is_closing():
            self.idle.pop()
        if self.idle:
            self.idle.pop().send(request)
        else:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port)
            connection.send(request)

    async def poisson(self, rate: float, seconds: float, seed: int) -> None:
        """Send `rate` requests a second for `seconds`; returns when all are answered."""
        draw = random.Random(seed)
        self.answers.clear()
        due = began = time.perf_counter()
        while due < began + seconds:
            while due <= time.perf_counter():
                await self.send(draw.choice(self.requests))
                due += draw.expovariate(rate)
            await asyncio.sleep(due - time.perf_counter())
        while self.open:
            await asyncio.sleep(0.01)

    async def one_by_one(self, count: int) -> None:
        """Send requests, each after the answer to the one before."""
        self.answers.clear()
        for request in self.requests[:count]:
            await self.send(request)
            while self.open:
                await asyncio.sleep(0.0005)


def http_request(text: str, source: str, target: str) -> bytes:
    """The bytes of a request."""
    body = json.dumps({"q": text, "source": source, "target": target}).encode()
    head = f"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


def cores(pid: int) -> float:
    """Processor seconds that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def engine_rate(options: argparse.Namespace) -> float:
    """Sentences per second of the bare engine, the median of several runs, in a process of its own."""
    code = f"""
import time, statistics, torch
from nmt.device import keep_freed_memory
from nmt.translator import Translator
keep_freed_memory()
translator = Translator.load({str(options.model)!r}, threads={options.threads}, engines={options.engines})
lines = {options.lines!r}
search = translator.search_options(beam={options.beam})
requests = [request for line in lines for request in translator.plan(line, search, split_sentences=True).requests]
seconds = []
for _ in range({options.rounds} + 1):
    began = time.perf_counter()
    translator.engine.run(requests)
    seconds.append(time.perf_counter() - began)
print(len(lines) / statistics.median(seconds[1:]))
"""
    done = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, check=True)
    return float(done.stdout)


def show(case: str, **values: float | str) -> None:
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in values.items()}
    print(json.dumps({"case": case, **rounded}), flush=True)


async def measure(options: argparse.Namespace, port: int, pid: int, bare: float) -> None:
    """Run the cases against the service on `port`."""
    load = Load(port, [http_request(line, *options.pair.split("-")) for line in options.lines])
    await load.poisson(0.3 * bare, 2.0, 0)  # warm-up
    await load.one_by_one(options.idle)
    idle = [seconds for _, seconds, _ in load.answers]
    show("idle", p50_ms=1e3 * statistics.median(idle), p99_ms=1e3 * quantile(idle, 99))
    capacity = bare
    for case in options.rates:
        rate = capacity * (1.0 if case == "capacity" else float(case))
        used, own, began = cores(pid), time.process_time(), time.perf_counter()
        await load.poisson(rate, options.seconds, len(case))
        span = time.perf_counter() - began
        used, own = (cores(pid) - used) / span, (time.process_time() - own) / span
        good = [(at, seconds) for at, seconds, status in load.answers if status == 200]
        # The first fifth is the time in which the batch and the queue fill; what is answered after the last request
        # was sent is the queue's end, with fewer and fewer requests together.
        inside = [at for at, _ in good if 0.2 * options.seconds <= at - began < options.seconds]
        throughput = len(inside) / (0.8 * options.seconds)
        if case == "capacity":
            capacity = throughput
        times = [seconds for _, seconds in good]
        quantiles = {f"p{q}_ms": 1e3 * quantile(times, q) for q in QUANTILES}
        show(
            case, offered=rate, throughput=throughput, over_engine=throughput / bare, **quantiles,
            p99_over_idle_p50=quantile(times, 99) / statistics.median(idle),
            refused=len(load.answers) - len(good), client_cores=own, service_cores=used,
        )  # fmt: skip


def quantile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_service", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path, help="source sentences, plain or gzip")
    parser.add_argument("--pair", default="en-de")
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--engines", type=int, help="default: by measurement")
    parser.add_argument("--lines", dest="count", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5, help="runs of the bare engine")
    parser.add_argument("--idle", type=int, default=100, help="requests one at a time")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each case")
    parser.add_argument("--rates", nargs="+", default=["capacity", "0.7", "1.5", "3"])
    parser.add_argument("--port", type=int, default=5077)
    parser.add_argument("--bare", type=float, help="sentences per second of the bare engine, instead of measuring")
    options = parser.parse_args()
    with (gzip.open if options.text.suffix == ".gz" else open)(options.text, "rt", encoding="utf-8") as file:
        options.lines = [line.strip() for line in file if line.strip()][: options.count]
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the service has it
    bare = options.bare or engine_rate(options)
    show("engine", throughput=bare)
    command = [sys.executable, "-m", "service", "--models", options.model, "--port", options.port,
               "--beam", options.beam, "--threads", options.threads]  # fmt: skip
    command += ["--engines", options.engines] if options.engines else []
    service = subprocess.Popen(list(map(str, command)))
    try:
        for _ in range(600):
            try:
                urlopen(f"http://127.0.0.1:{options.port}/ready")
                break
            except OSError:
                time.sleep(0.1)
        asyncio.run(measure(options, options.port, service.pid, bare))
    finally:
        service.terminate()
        service.wait()


if __name__ == "__main__":
    main()
