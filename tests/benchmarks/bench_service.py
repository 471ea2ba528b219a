"""Speed of the service under load, beside the bare engine: throughput, latency, refusals, fairness, memory.

The service runs as a process of its own; this process sends requests of one sentence each, over connections that are
kept open, at random (Poisson) times that do not wait for the answers. Before and after each case a third process runs
the bare engine with the same settings, and `bare engine` is the mean of both. Cases:

    idle       one request at a time (always run)
    capacity   requests at the rate of the bare engine; the throughput is the service's capacity (always run, for a
               minute at most)
    0.7        requests at this multiple of the capacity; likewise 1.5, 3 and any other; above 1 with `deadline_ms`
    bulk       single sentences at half the capacity, alone and beside another client's requests of 500 sentences each
    soak       0.7, 1.5 and 3 times the capacity in turn, texts of 1 to 120 words; 20 lines with the memory

`client_cores` and `service_cores` are processor seconds per second of this process and of the service, on the same
cores; `late_p99_ms` tells how late this process sent a request.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import uvloop

from tests.benchmarks.http_load import Load, Result, http_request, quantile, times
from tests.benchmarks.material import read_lines
from tests.benchmarks.measure import emit

BARE = """
import statistics, sys, time
from nmt.device import keep_freed_memory
from nmt.translator import Translator
keep_freed_memory()
translator = Translator.load(OPTIONS.pop("model"), threads=OPTIONS["threads"], engines=OPTIONS["engines"])
search = translator.search_options(beam=OPTIONS["beam"])
requests = [r for line in OPTIONS["lines"] for r in translator.plan(line, search, split_sentences=True).requests]
translator.engine.run(requests)
for line in sys.stdin:
    times, ends = [], time.perf_counter() + OPTIONS["bare_seconds"]
    while not times or time.perf_counter() < ends:
        began = time.perf_counter()
        translator.engine.run(requests)
        times.append(time.perf_counter() - began)
    print(len(OPTIONS["lines"]) / statistics.median(times), flush=True)
"""


class BareEngine:
    """The engine without the service, in a process of its own, which sleeps between its measurements."""

    def __init__(self, options: argparse.Namespace) -> None:
        names = ("threads", "engines", "beam", "lines", "bare_seconds")
        given = {name: getattr(options, name) for name in names} | {"model": str(options.model)}
        command = [sys.executable, "-c", f"OPTIONS = {given!r}\n{BARE}"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.last = self.measure()

    def measure(self) -> float:
        """Sentences per second."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(file=self.process.stdin, flush=True)
        self.last = float(self.process.stdout.readline())
        return self.last

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def running_service(options: argparse.Namespace) -> Iterator[subprocess.Popen[bytes]]:
    """The service, once it is ready."""
    command = [sys.executable, "-m", "service", "--models", options.model, "--port", options.port,
               "--beam", options.beam, "--threads", options.threads, *options.service.split()]  # fmt: skip
    command += ["--engines", options.engines] if options.engines else []
    service = subprocess.Popen(list(map(str, command)))
    try:
        for _ in range(600):
            assert service.poll() is None, "the service has ended"
            try:
                urlopen(f"http://127.0.0.1:{options.port}/ready")
                break
            except OSError:
                time.sleep(0.1)
        yield service
    finally:
        service.terminate()
        service.wait()


def cores(pid: int) -> float:
    """Processor seconds that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """Resident memory of a process in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


class Cases:
    """The cases, run against one service. Each prints its lines."""

    def __init__(self, options: argparse.Namespace, pid: int, bare: BareEngine) -> None:
        self.options = options
        self.pid = pid
        self.bare = bare
        self.capacity = bare.last
        self.idle_ms = 1.0
        self.load = Load(options.port, self.requests(options.lines))

    async def run(self) -> None:
        """Run the cases that were asked for, after the idle latency and the capacity, with which they compare."""
        await self.load.poisson(0.3 * self.bare.last, 2.0)  # warm-up
        await self.idle()
        await self.at("capacity", 1.0)
        for case in self.options.cases:
            if case == "bulk":
                await self.bulk()
            elif case == "soak":
                await self.soak()
            else:
                await self.at(case, float(case))

    def requests(self, texts: Sequence[str], **fields: object) -> list[bytes]:
        return [http_request(text, self.options.pair, **fields) for text in texts]

    def show(self, case: str, load: str, value: float, unit: str, ratio: float, of: str, **more: Any) -> None:
        emit(case, {"model": self.options.model.stem, "load": load}, value, unit, ratio, of, **more)

    async def measured(self, work: Awaitable[Result]) -> tuple[Result, dict[str, Any]]:
        """Await a load; return it with what both processes took meanwhile."""
        before, used, own, began = resident(self.pid), cores(self.pid), time.process_time(), time.perf_counter()
        result = await work
        span = time.perf_counter() - began
        return result, {
            **result.counts(),
            "service_cores": (cores(self.pid) - used) / span,
            "client_cores": (time.process_time() - own) / span,
            "client_late_p99_ms": result.late_p99_ms,
            "memory_before_mib": before,
            "memory_mib": resident(self.pid),
        }

    async def idle(self) -> None:
        result, more = await self.measured(self.load.one_by_one(count=100))
        self.idle_ms = statistics.median(result.ms())
        self.show("service, one at a time", "idle", self.idle_ms, "ms", 1.0, "itself", **times(result.ms()), **more)

    async def at(self, case: str, multiple: float) -> None:
        """Single sentences at a multiple of the capacity; above it with a deadline each."""
        deadline = {"deadline_ms": self.options.deadline_ms} if multiple > 1 else {}
        self.load.requests = self.requests(self.options.lines, **deadline)
        bare = self.bare.last
        offered = multiple * self.capacity
        seconds = min(self.options.seconds, 60.0) if case == "capacity" else self.options.seconds
        result, more = await self.measured(self.load.poisson(offered, seconds))
        used = cores(self.bare.process.pid)
        began = time.perf_counter()
        bare = (bare + self.bare.measure()) / 2
        more["bare_cores"] = (cores(self.bare.process.pid) - used) / (time.perf_counter() - began)
        if case == "capacity":
            self.capacity = result.throughput
        self.show(
            "service, single sentences", case,
            result.throughput, "sentences/s", result.throughput / bare, "bare engine",
            offered=offered, over_capacity=result.throughput / self.capacity, **times(result.ms()),
            p99_over_idle=quantile(result.ms(), 99) / self.idle_ms, **more,
        )  # fmt: skip
        if more["refused"]:
            refused = times(result.ms(503))
            self.show("service, refusals", case, refused["p99_ms"], "ms", refused["p99_ms"] / 20, "20 ms", **refused)

    async def bulk(self) -> None:
        """Singles at half the capacity: alone, and beside another client, of which each request has 500 sentences."""
        self.load.requests = self.requests(self.options.lines)
        alone = 1.0
        many = [self.options.lines[n % len(self.options.lines)] for n in range(500)]
        for name, fields in (("alone", None), ("bulk", {}), ("bulk of low priority", {"priority": "bulk"})):
            singles = self.load.poisson(self.capacity / 2, self.options.seconds)
            if fields is None:
                result, more = await self.measured(singles)
                alone = quantile(result.ms(), 99)
            else:
                other = Load(self.options.port, [http_request(many, self.options.pair, **fields)], "127.0.0.2")
                working = asyncio.create_task(other.one_by_one(self.options.seconds))
                result, more = await self.measured(singles)
                done = await working
                more["bulk_sentences_per_s"] = 500 * len(done.ms()) / (done.answers[-1].at - done.began)
            p99 = quantile(result.ms(), 99)
            self.show(
                "service, singles beside", name, p99, "ms", p99 / alone, "singles alone", **times(result.ms()), **more
            )

    async def soak(self) -> None:
        """All loads in turn for `--seconds` together, with texts of 1 to 120 words: the memory must stay as it is."""
        draw = random.Random(1)
        words = " ".join(self.options.lines).split()
        texts = []
        for _ in range(4000):
            size = min(120, int(draw.expovariate(1 / 14)) + 1)
            begin = draw.randrange(max(1, len(words) - size))
            texts.append(" ".join(words[begin : begin + size]))
        self.load.requests = self.requests(texts, deadline_ms=self.options.deadline_ms)
        first = 0.0
        for part in range(20):
            rate = (0.7, 1.5, 3.0)[part % 3] * self.capacity
            result, more = await self.measured(self.load.poisson(rate, self.options.seconds / 20, seed=part))
            mib = more.pop("memory_mib")
            first = first or mib
            self.show(
                "service, soak", f"part {part}", mib, "MiB", mib / first, "first part", **times(result.ms()), **more
            )


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options and run the cases."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks service",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, required=True, help="exported file")
    parser.add_argument("--text", type=Path, required=True, help="source sentences, plain or gzip")
    parser.add_argument("--pair", default="en-de")
    parser.add_argument("--cases", nargs="*", default=["0.7", "1.5", "3", "bulk"])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each case, and of the soak in all")
    parser.add_argument("--bare-seconds", type=float, default=3.0, help="of each measurement of the bare engine")
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--engines", type=int, help="default: by measurement")
    parser.add_argument("--sentences", type=int, default=500)
    parser.add_argument("--deadline-ms", type=int, default=3000, help="of each request above the capacity")
    parser.add_argument("--port", type=int, default=5077)
    parser.add_argument("--service", default="", metavar="OPTIONS", help="further options of the service")
    options = parser.parse_args(argv)
    options.lines = [line for line in map(str.strip, read_lines(options.text)) if line][: options.sentences]
    bare = BareEngine(options)
    try:
        with running_service(options) as service, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Cases(options, service.pid, bare).run())
    finally:
        bare.end()
