"""Hostile requests against a service in a process of its own: `python -m tests.service.hostile MODEL [--requests N]`.

They are drawn with a seed, and sent over plain sockets, many at the same time: wrong types, deep nesting, bad
encodings, half surrogate pairs, huge and slow bodies, half-open connections, chunks, pipelines, bad heads, texts and
archives made to take long. Meanwhile another process asks for /health. The report says what was answered, and when.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import http.client
import io
import json
import random
import select
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ALLOWED = {*range(200, 500), 503}
PATHS = [
    "/translate", "/detect", "/suggest", "/translate_file", "/languages", "/health", "/docs", "/download_file/x",
    "/x"
]  # fmt: skip
ASKED = {"q": "the dog", "source": "en", "target": "de"}
FIELDS = [
    *ASKED, "format", "alternatives", "nbest", "beam_size", "length_penalty", "deadline_ms", "return_scores",
    "return_tokens", "return_alignments", "api_key", "s", "glossary", "stream", "model", "\0", "q" * 1000
]  # fmt: skip
VALUES: list[Any] = [
    None, True, 0, -1, 1 << 70, 1e308, 0.5, "", "x", "html", "en", "\ud800", "\udfff\ud800", "\0", "é" * 50, [],
    [[]], {}, {"a": {}}, [None], ["a", 1], [""] * 100, ["a"] * 2000, {"a": "b"}, "1", "NaN", "-0"
]  # fmt: skip
UNITS = [
    "a", "a.", ". ", '"', "(", "[", "“", " ", "\n", "\u2028", "-", " - ", ", ", "\u0301", "👩\u200d", "İ", "ﷺ", "<",
    "<b>", "</b>", "<a '", "<!--", "&", "&#", "{", "{{", "%(", "[X", "http://", "a@", "1.", "\t", "\0", "\U000f0000",
    "ก"
]  # fmt: skip


@dataclass
class Attack:
    """What is sent on one connection. parts: bytes, with a pause in seconds after each. answers: expected, at most."""

    kind: str
    parts: Sequence[tuple[bytes, float]]
    answers: int = 1
    wait_s: float = 20.0
    """how long to wait for an answer; short where none may be due, since the request is not complete"""


@dataclass
class Report:
    """What was answered."""

    statuses: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    silent: Counter[str] = field(default_factory=Counter)
    """connections without an answer, by kind"""
    slowest: list[tuple[float, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """answers with a status that is not allowed"""
    health_ms: float = 0.0
    """the slowest answer of /health"""
    probes: int = 0

    def __str__(self) -> str:
        late = ", ".join(f"{seconds:.2f} s ({kind})" for seconds, kind in self.slowest[:5])
        return "\n".join(
            [
                f"{self.kinds.total()} connections, answers by status: {dict(sorted(self.statuses.items()))}",
                f"kinds: {dict(self.kinds)}",
                f"without an answer: {dict(self.silent)}",
                f"slowest: {late}",
                f"/health: slowest of {self.probes} in {self.health_ms:.0f} ms",
                *(f"wrong: {one}" for one in self.wrong[:20]),
            ]
        )


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode("utf-8", "surrogateescape")


def post(path: str, body: bytes, kind: str = "application/json", *lines: str) -> bytes:
    return head("POST", path, f"Content-Type: {kind}", f"Content-Length: {len(body)}", *lines) + body


def dumps(value: Any) -> bytes:
    return json.dumps(value).encode()


def wrong_types(draw: random.Random) -> Attack:
    body = {**ASKED, **{draw.choice(FIELDS): draw.choice(VALUES) for _ in range(draw.randint(1, 3))}}
    return Attack("wrong types", [(post(draw.choice(PATHS), dumps(body)), 0)])


def nesting(draw: random.Random) -> Attack:
    depth, (a, b) = draw.choice([10, 1000, 100_000]), draw.choice(["[]", ['{"a":', "}"]])
    value = a * depth + "1" + b * (depth if draw.random() < 0.5 else 0)
    body = value if draw.random() < 0.5 else f'{{"q": {value}, "source": "en", "target": "de"}}'
    return Attack("nesting", [(post("/translate", body.encode()), 0)])


def encodings(draw: random.Random) -> Attack:
    good = json.dumps({**ASKED, "q": "dög"}, ensure_ascii=False)
    bodies = [
        draw.randbytes(50), good.encode("utf-16"), good.encode("latin-1"), b"\xef\xbb\xbf" + good.encode(),
        gzip.compress(good.encode()), b'{"q": "\\ud83d", "source": "\\udc00", "target": "en"}', b"\x00" * 20,
        b"q=%ff&source=en", b"q=%ED%A0%80&source=en&target=de", b"&" * 5000, b"%" * 500, b"q[]=a&q[b]=c"
    ]  # fmt: skip
    kinds = [
        "application/json", "application/json; charset=utf-16", "application/x-www-form-urlencoded", "text/plain",
        "", "multipart/form-data; boundary=b", "multipart/form-data", 'multipart/form-data; boundary="' + "b" * 300,
        "application/vnd.api+json", "application/\xff+json", "a" * 500
    ]  # fmt: skip
    return Attack("encodings", [(post(draw.choice(PATHS[:4]), draw.choice(bodies), draw.choice(kinds)), 0)])


def multipart(draw: random.Random) -> Attack:
    names = ["q", "file", "source", "target", "", '"', "a" * 500, 'q"; filename="../../x', 'file"; filename="a.txt']
    parts = []
    for _ in range(draw.choice([1, 3, 20])):
        name, value = draw.choice(names), draw.choice([b"en", b"", b"\r\n--b", draw.randbytes(30), b"-" * 2000])
        parts.append(f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n")
    end = draw.choice([b"--b--\r\n", b"--b", b"", b"--b--" + b"-" * 20_000])
    return Attack(
        "multipart", [(post(draw.choice(PATHS[:4]), b"".join(parts) + end, "multipart/form-data; boundary=b"), 0)]
    )


def file(name: str, content: bytes) -> bytes:
    fields = {"source": b"en", "target": b"de"}
    body = b"".join(
        f'--b\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n'.encode() + v + b"\r\n" for n, v in fields.items()
    )
    body += (
        f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n--b--\r\n"
    )
    return post("/translate_file", body, "multipart/form-data; boundary=b")


def archives(draw: random.Random) -> Attack:
    xml = draw.choice(
        [
            b"<w:p><w:t>" + b"a" * 3_000_000,
            b"<w:p>" * 100_000,
            b"<!DOCTYPE a [<!ENTITY b 'c'>]><w:p>&b;</w:p>",
            b"\xff\xfe",
            b"<w:p><w:t>a</w:t>" * 50,
            b"<w:p a='" * 5000,
            b"&amp;" * 5000,
        ]
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(draw.choice([0, 0, 0, 2500])):
            archive.writestr(f"m{n}", b"")
        archive.writestr(draw.choice(["word/document.xml", "../../../etc/x", "content.xml", "/"]), xml)
    data = bytearray(buffer.getvalue())
    for _ in range(draw.choice([0, 0, 5])):
        data[draw.randrange(len(data))] = draw.randrange(256)
    name = draw.choice(["a.docx", "a.odt", "a.txt", "../../a.html", "a.srt", "a.po", "a" * 5000, "a.docx\\"])
    return Attack("archives", [(file(name, bytes(data)), 0)])


def texts(draw: random.Random) -> Attack:
    """Texts made to take long: much of one thing. Long ones have no letters, so that nothing has to be translated."""
    unit = draw.choice(UNITS)
    letters = any(map(str.isalnum, unit))
    text = draw.choice(["", "a ", "("]) + unit * (
        draw.choice([10, 200] if letters else [10, 3000, 30_000]) // len(unit)
    )
    body = {**ASKED, "q": text if draw.random() < 0.7 else [text] * 3, "format": draw.choice(["text", "html"])}
    return Attack("texts", [(post(draw.choice(PATHS[:2]), dumps(body)), 0)])


def huge(draw: random.Random) -> Attack:
    size = draw.choice([100_000, 3_000_000])
    sent = draw.choice(
        [
            post("/translate", b"[" * size),
            post("/translate", dumps({**ASKED, "q": "." * size})),
            post("/translate", dumps({**ASKED, "source": "a" * size})),
            post("/translate", b'{"q": [' + b"[]," * 600_000 + b"1]}"),
            post("/translate", dumps({**ASKED, "q": [""] * 400_000})),
            post("/translate", b"q=" + b"%" * 2_000_000, "application/x-www-form-urlencoded"),
            head("POST", "/translate", "Content-Length: 99999999999"),
            head("POST", "/translate", f"Content-Length: {'9' * 5000}"),
            head("GET", "/" + "a" * size),
            head("GET", "/languages", f"A: {'a' * size}"),
            head("GET", "/languages", *(f"A{n}: b" for n in range(size // 100))),
            head("POST", f"/translate?q={'%61' * (size // 100)}&source=en&target=de"),
        ]
    )
    return Attack("huge", [(sent, 0)])


def slow(draw: random.Random) -> Attack:
    sent = post("/translate", dumps(ASKED))
    cuts = sorted(draw.sample(range(1, len(sent)), draw.choice([1, 5, 20])))
    return Attack("slow", [(sent[a:b], 0.05) for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)])


def half_open(draw: random.Random) -> Attack:
    sent = post("/translate", dumps(ASKED))
    return Attack("half-open", [(sent[: draw.randrange(len(sent))], draw.choice([0, 0.5]))], wait_s=0)


def gone(draw: random.Random) -> Attack:
    return Attack(
        "gone", [(post("/translate", dumps({**ASKED, "q": "the dog. " * 20})), draw.choice([0, 0.01]))], wait_s=0
    )


def chunked(draw: random.Random) -> Attack:
    body = dumps(ASKED)
    good = f"{len(body):x}\r\n".encode() + body + b"\r\n"
    sizes = [
        b"zz\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"1;" + b"a" * 5000 + b"\r\n", b"\r\n", b"0x5\r\nhello\r\n"
    ]  # fmt: skip
    small = b"".join(b"1\r\n" + body[n : n + 1] + b"\r\n" for n in range(len(body)))
    sent = draw.choice(
        [
            good + b"0\r\n\r\n",
            small + b"0\r\n\r\n",
            good + draw.choice(sizes),
            draw.choice(sizes),
            good + b"0\r\nA: b\r\nContent-Length: 5\r\n\r\n",
            good[:-3] + b"0\r\n\r\n",
        ]
    )
    more = draw.choice([[], ["Content-Length: 5"], ["Transfer-Encoding: chunked"], ["Expect: 100-continue"]])
    lines = ["Content-Type: application/json", "Transfer-Encoding: chunked", *more]
    return Attack("chunked", [(head("POST", "/translate", *lines) + sent, 0)], wait_s=0.3)


def pipelined(draw: random.Random) -> Attack:
    some = [post("/translate", dumps(ASKED)), head("GET", "/health"), post("/translate", b"{"), head("GET", "/none")]
    count = draw.choice([2, 10, 50])
    return Attack("pipelined", [(b"".join(draw.choices(some, k=count)), 0)], answers=count)


def bad_heads(draw: random.Random) -> Attack:
    lines = [
        "no colon", ": no name", "A\0: b", "A: \0", "A : b", " folded", "Content-Length: -1",
        "Content-Length: 1\r\nContent-Length: 2", "Transfer-Encoding: x", "Content-Length: 0x10",
        "A: " + "\udcff" * 9, "Host: y", "A:\rb", "Connection: upgrade\r\nUpgrade: h2c",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\nSec-WebSocket-Version: 13",
        "Authorization: " + "x" * 5000, "X-Forwarded-For: ' OR 1=1", "Range: bytes=0-"
    ]  # fmt: skip
    raw = [
        b"\r\n" * 50, draw.randbytes(200), b"GET /\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00", b"GET  /health HTTP/1.1\r\n\r\n", b"GET /health HTTP/9.9\r\n\r\n",
        b"G\0T / HTTP/1.1\r\n\r\n", b"GET /%00%ff%zz HTTP/1.1\r\n\r\n", b"GET http://x/health HTTP/1.1\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n"
    ]  # fmt: skip
    methods = ["GET", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "HEAD", "BREW", "get", "POST"]
    sent = (
        head(draw.choice(methods), draw.choice(PATHS), draw.choice(lines)) if draw.random() < 0.7 else draw.choice(raw)
    )
    return Attack("bad heads", [(sent, 0.0)], wait_s=0.3)


KINDS: Sequence[Callable[[random.Random], Attack]] = (
    wrong_types, wrong_types, wrong_types, nesting, encodings, encodings, multipart, archives, texts, huge, slow,
    half_open, gone, chunked, pipelined, bad_heads, bad_heads
)  # fmt: skip
PROBE_S = 0.01  # between two requests of /health


async def attack(host: str, port: int, one: Attack, report: Report) -> None:
    """Send an attack; note the answers."""
    reader, writer = await asyncio.open_connection(host, port)
    for data, pause in one.parts:
        writer.write(data)
        await asyncio.sleep(pause)
    statuses: list[int] = []
    began = time.monotonic()
    try:
        async with asyncio.timeout(one.wait_s):
            await _read(reader, one.answers, statuses)
    except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError):
        pass
    seconds = time.monotonic() - began
    writer.transport.abort()
    report.kinds[one.kind] += 1
    report.statuses.update(statuses)
    if one.wait_s > 1 and not statuses:
        report.silent[one.kind] += 1
    if statuses or one.wait_s > 1:
        report.slowest = sorted([*report.slowest, (seconds, one.kind)], reverse=True)[:20]
    for status in statuses:
        if status not in ALLOWED:
            report.wrong.append(f"{status} for {one.kind}: {one.parts[0][0][:300]!r}")


async def _read(reader: asyncio.StreamReader, most: int, statuses: list[int]) -> None:
    """Append the statuses of at most so many answers."""
    while len(statuses) < most:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        if (status := int(lines[0].split()[1])) == 100:
            continue
        statuses.append(status)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        await reader.readexactly(int(headers.get("content-length", "0")))


async def _run(host: str, port: int, requests: int, at_once: int, seed: int, kind: str) -> Report:
    report = Report()
    kinds = [one for one in KINDS if not kind or one.__name__ == kind]
    draw = random.Random(seed)
    left = iter(range(requests))

    async def send() -> None:
        for _ in left:
            await attack(host, port, draw.choice(kinds)(draw), report)

    await asyncio.gather(*(send() for _ in range(at_once)))
    return report


def run(host: str, port: int, requests: int, at_once: int = 16, seed: int = 0, kind: str = "") -> Report:
    """Send hostile requests to a service, while another process asks for its /health; return the report."""
    command = [sys.executable, __file__, "probe", host, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as probe:
        report = asyncio.run(_run(host, port, requests, at_once, seed, kind))
        probes, slowest = probe.communicate(timeout=60)[0].split()
    report.probes, report.health_ms = int(probes), float(slowest)
    return report


def probe(host: str, port: int) -> None:
    """Ask for /health until the end of stdin; print how often, and the longest time in milliseconds."""
    connection = http.client.HTTPConnection(host, port, timeout=60)
    count, slowest = 0, 0.0
    while not select.select([sys.stdin], [], [], PROBE_S)[0]:
        began = time.perf_counter()
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        count, slowest = count + 1, max(slowest, time.perf_counter() - began)
    print(count, 1000 * slowest)


def main() -> None:
    """Start a service with a model, attack it, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="exported model, from English to German")
    parser.add_argument("--requests", type=int, default=20_000, help="connections (default: 20000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=[kind.__name__ for kind in KINDS], help="only these")
    parser.add_argument("--at-once", type=int, default=16, help="connections at the same time (default: 16)")
    options = parser.parse_args()
    with served(options.model) as (client, log):
        port = client.base_url.port or 0
        print(run("127.0.0.1", port, options.requests, options.at_once, options.seed, options.kind))
        print("afterwards:", client.post("/translate", json=ASKED).json(), client.get("/ready").json())
        print(f"{log.stat().st_size} bytes of log")


@contextmanager
def served(model: str | Path, *options: str) -> Iterator[tuple[httpx.Client, Path]]:
    """Start a service with a model, in a process of its own; yield a client, once it is ready, and its log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "service", "--models", str(model), "--port", str(port), *options]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        with path.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
                    _wait_until_ready(process, client)
                    yield client, path
            finally:
                process.terminate()
                process.wait(30)


def _wait_until_ready(process: subprocess.Popen[bytes], client: httpx.Client) -> None:
    ends = time.monotonic() + 120
    while time.monotonic() < ends and process.poll() is None:
        try:
            if client.get("/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise TimeoutError("the service did not start")


if __name__ == "__main__":
    if sys.argv[1:2] == ["probe"]:
        probe(sys.argv[2], int(sys.argv[3]))
    else:
        main()
