"""Real server processes: exported models, TCP, signals, log."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.server import EXIT_BROKEN, listen
from tests.copy_model import exported

ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0  # importing torch may take long on a busy machine


@contextmanager
def server(*command: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """Start a server with this command ({port} is replaced), wait until it is ready, and yield it with a client."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, *(part.replace("{port}", str(port)) for part in command)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            wait_until_ready(process, client)
            yield process, client
    finally:
        process.terminate()
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def wait_until_ready(process: subprocess.Popen[str], client: httpx.Client) -> None:
    ends = time.monotonic() + START_S
    while time.monotonic() < ends:
        assert process.poll() is None, process.communicate()[1]
        try:
            if client.get("/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    pytest.fail("the server is not ready")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model that copies its source."""
    path = tmp_path_factory.mktemp("models") / "copy.pt"
    path.write_bytes(exported())
    return path


@pytest.fixture(scope="module")
def client(model: Path) -> Iterator[httpx.Client]:
    """A client of a service with that model, with greedy search."""
    with server("-m", "service", "--models", str(model), "--port", "{port}", "--beam", "1") as (_, client):
        yield client


def translate(client: httpx.Client, q: Any, **more: Any) -> Any:
    response = client.post("/translate", json={"q": q, "source": "en", "target": "de", **more})
    assert response.status_code == 200, response.text
    return response.json()


LONG = " ".join(f"The quick brown fox number {n} jumps over the lazy dog." for n in range(450))[:20_000]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where is the station, please?", None),
        (["It is raining.", "", "we stay at home"], None),
        ("\N{GRINNING FACE} \N{PARTY POPPER}", None),
        (" \n\t ", None),
        ("two\n\n  lines\r\n", None),
        ("bell \x07rings\x00", "bell rings"),
        (LONG, None),
    ],
)
def test_texts(client: httpx.Client, text: Any, expected: Any) -> None:
    assert translate(client, text) == {"translatedText": text if expected is None else expected}


def test_scripts_that_the_model_does_not_know_are_copied(client: httpx.Client) -> None:
    answer = translate(client, "the \N{CJK UNIFIED IDEOGRAPH-72D0} jumps")["translatedText"]
    assert "\N{CJK UNIFIED IDEOGRAPH-72D0}" in answer


def test_alternatives_are_distinct(client: httpx.Client) -> None:
    answer = translate(client, "fox and dog", alternatives=5)
    every = [answer["translatedText"], *answer["alternatives"]]
    assert len(every) == len(set(every)) > 1


def test_detection_tells_how_much_the_model_knows(client: httpx.Client) -> None:
    known = translate(client, "the lazy dog", source="auto")["detectedLanguage"]
    assert known == {"confidence": 100.0, "language": "en"}
    mixed = translate(client, "\N{CJK UNIFIED IDEOGRAPH-72D0}\N{CJK UNIFIED IDEOGRAPH-4E00} dog", source="auto")
    assert mixed["detectedLanguage"]["confidence"] < 100.0


def test_many_clients_share_steps_and_get_their_own_answers(client: httpx.Client) -> None:
    before = metrics(client)
    texts = [f"the quick fox number {n} jumps" for n in range(40)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda text: translate(client, text), texts))
    assert answers == [{"translatedText": text} for text in texts]
    after = metrics(client)
    steps, rows = (after[name] - before[name] for name in ("nmt_steps_total", "nmt_step_segments_total"))
    assert rows / steps > 1.5  # the mean number of sentences in a step


def metrics(client: httpx.Client) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_a_disconnected_client_leaves_the_engine(client: httpx.Client) -> None:
    body = json.dumps({"q": LONG, "source": "en", "target": "de"}).encode()
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        connection.sendall(
            b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        wait_for(lambda: metrics(client)["nmt_active_segments"] > 0)
    wait_for(lambda: metrics(client)["nmt_active_segments"] + metrics(client)["nmt_waiting_segments"] == 0)
    assert metrics(client)['nmt_requests_total{method="POST",route="/translate",status="499"}'] >= 1


def wait_for(condition: Any, seconds: float = 20.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.005)


def test_a_plain_socket_gets_the_answer_to_a_body_too_large(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        connection.settimeout(20)
        size = 8 * 1024 * 1024
        connection.sendall(b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        connection.sendall(b"x" * size)  # all of it before the answer is read
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b'bytes"}')


def test_the_access_log_has_no_text_and_no_key(model: Path) -> None:
    command = ("-m", "service", "--models", str(model), "--port", "{port}", "--access-log", "true", "--beam", "1")
    with server(*command) as (process, client):
        client.post("/translate?q=my+text&api_key=s3cret&source=en&target=de")
        process.terminate()
        log = process.communicate(timeout=30)[1]
    assert '"POST /translate HTTP/1.1" 200' in log
    assert "s3cret" not in log
    assert "my+text" not in log


def connect(client: httpx.Client, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection((client.base_url.host, client.base_url.port))
    connection.settimeout(20)
    connection.sendall(sent)
    return connection


def test_half_open_connections_do_not_shut_others_out() -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)); "
        "from tests.service.fakes import serve_slowly; sys.exit(serve_slowly({port}, 0.01, idle_s=2))"
    )
    with server("-c", code) as (process, client), ExitStack() as stack:
        for n in range(400):
            stack.enter_context(connect(client, b"POST /translate HT" if n % 2 else b""))
            if n % 40 == 0:
                assert httpx.get(f"{client.base_url}/health", timeout=20).status_code == 200
        last = stack.enter_context(connect(client, b"POST /tr"))
        assert translate(client, "a") == {"translatedText": "A"}
        began = time.monotonic()
        assert last.recv(1) == b""  # closed by the server
        assert 1.0 < time.monotonic() - began < 15.0
        process.terminate()
        assert len(process.communicate(timeout=30)[1]) < 20_000


def inside(client: httpx.Client) -> float:
    """Segments that wait or are translated."""
    found = metrics(client)
    return found["nmt_active_segments"] + found["nmt_waiting_segments"]


def one_answer(connection: socket.socket) -> str:
    answer = ""
    while "}" not in answer:
        answer += connection.recv(65536).decode()
    return answer


@pytest.mark.parametrize("origin", ["", "Origin: http://example.org\r\n"])
def test_a_refused_request_leaves_its_connection_in_order(origin: str) -> None:
    """A refusal comes before the body; what comes of the body is dropped, and the next request is answered."""
    code = (
        "import sys; from tests.service.fakes import serve_slowly; sys.exit(serve_slowly({port}, 0.3, rows=1, queue=1))"
    )
    body = json.dumps({"q": "a", "source": "en", "target": "de"}).encode()
    head = (
        f"POST /translate HTTP/1.1\r\nHost: x\r\n{origin}Content-Type: application/json\r\nContent-Length: {len(body)}"
    )
    with server("-c", code) as (_, client), ThreadPoolExecutor(2) as pool, connect(client) as connection:
        busy = []
        for n in range(2):
            busy.append(pool.submit(translate, client, f"text {n}"))
            wait_for(lambda n=n: inside(client) == n + 1)
        connection.sendall(f"{head}\r\n\r\n".encode())
        refused = one_answer(connection)
        assert refused.startswith("HTTP/1.1 503 ")
        assert "retry-after: 1\r\n" in refused.lower()
        assert json.loads(refused.partition("\r\n\r\n")[2])["error"].startswith("the queue is full")
        with connect(client, f"{head}\r\n\r\n".encode() + body) as other:  # with its body
            assert one_answer(other).startswith("HTTP/1.1 503 ")
        assert [one.result() for one in busy] == [{"translatedText": f"TEXT {n}"} for n in range(2)]
        connection.sendall(body[:5])
        time.sleep(0.05)
        connection.sendall(body[5:] + f"{head}\r\n\r\n".encode() + body)
        answer = one_answer(connection)
        assert answer.startswith("HTTP/1.1 200 ")
        assert answer.endswith('{"translatedText":"A"}')
        assert metrics(client)['nmt_requests_total{method="POST",route="/translate",status="503"}'] == 2


def test_a_deadline_in_a_short_body_is_seen_at_once() -> None:
    code = "import sys; from tests.service.fakes import serve_slowly; sys.exit(serve_slowly({port}, 0.2, rows=1))"
    with server("-c", code) as (_, client), ThreadPoolExecutor(1) as pool:
        asked = {"q": "a", "source": "en", "target": "de"}
        translate(client, "a", deadline_ms=10**6)  # which measures the speed
        busy = pool.submit(translate, client, "b")
        wait_for(lambda: inside(client) == 1)
        assert client.post("/translate", json={**asked, "deadline_ms": 20}).status_code == 503
        assert client.post("/translate", json={**asked, "q": '"deadline_ms": 20'}).status_code == 200
        assert busy.result() == {"translatedText": "B"}


def test_uvicorn_takes_the_app_from_the_environment(model: Path) -> None:
    command = ("-m", "uvicorn", "service.app:app", "--port", "{port}")
    with server(*command, NMT_MODELS=str(model.parent), NMT_MAX_CHARACTERS="20", NMT_BEAM="1") as (_, client):
        assert translate(client, "the lazy dog") == {"translatedText": "the lazy dog"}
        refused = client.post("/translate", json={"q": "x" * 21, "source": "en", "target": "de"})
        assert refused.json()["error"].endswith("exceeds text limit (20)")


def test_sigterm_answers_what_was_accepted_and_exits_with_0() -> None:
    code = "import sys; from tests.service.fakes import serve_slowly; sys.exit(serve_slowly({port}, 0.3))"
    with server("-c", code) as (process, client), ThreadPoolExecutor(12) as pool:
        futures = [pool.submit(translate, client, f"text {n}") for n in range(12)]
        wait_for(lambda: metrics(client)["nmt_active_segments"] + metrics(client)["nmt_waiting_segments"] == 12)
        process.send_signal(signal.SIGTERM)
        assert [future.result() for future in futures] == [{"translatedText": f"TEXT {n}"} for n in range(12)]
        assert process.wait(30) == 0


def test_a_hung_step_ends_the_process_with_a_code() -> None:
    code = "import sys; from tests.service.fakes import serve_slowly; sys.exit(serve_slowly({port}, 600.0, hang_s=0.5))"
    with server("-c", code) as (process, client):
        answer = client.post("/translate", json={"q": "a", "source": "en", "target": "de"})
        assert answer.status_code == 500
        log = process.communicate(timeout=30)[1]
        assert process.returncode == EXIT_BROKEN
        assert "a step did not end within 0.5 s" in log


def messages(stderr: str) -> list[str]:
    """The messages of a log, without date, level and logger, and without the advice to build the kernels."""
    found = [re.sub(r"^\d\S* \S* [A-Z]+ [\w.]+: ", "", line) for line in stderr.splitlines()]
    return [message for message in found if not message.startswith("C++ kernels")]


def test_the_log_announces_the_service_once_its_models_are_loaded(model: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("mine.pt", "starter.pt")):  # one pair: the newer file is the default
        (tmp_path / name).write_bytes(model.read_bytes())
        os.utime(tmp_path / name, (1e9 - number, 1e9 - number))
    (tmp_path / "half.pt").write_bytes(model.read_bytes()[:1000])
    with server("-m", "service", "--models", str(tmp_path), "--port", "{port}", "--beam", "1") as (process, client):
        process.terminate()
        log = messages(process.communicate(timeout=30)[1])
    expected = [
        rf"listening on {client.base_url}; loading the models",
        r"loading .*/mine\.pt",
        r"loading .*/starter\.pt",
        r"half is left out: .*/half\.pt: cut off or damaged .*",
        r"ready after [\d.]+ s: mine \(en-de\), starter \(en-de, by name only\)",
        r"stopping: .*",
        r"stopped",
    ]
    assert len(log) == len(expected), log
    for line, pattern in zip(log, expected, strict=True):
        assert re.fullmatch(pattern, line)


def test_the_log_claims_nothing_before_the_error_of_a_damaged_model(model: Path, tmp_path: Path) -> None:
    (tmp_path / "half.pt").write_bytes(model.read_bytes()[:1000])
    command = [sys.executable, "-m", "service", "--models", str(tmp_path), "--port", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=START_S)
    first, last = messages(done.stderr)
    assert done.returncode == 2
    assert re.fullmatch(r"listening on http://127\.0\.0\.1:\d+; loading the models", first)
    assert last.startswith(f"error: {tmp_path}/half.pt: cut off or damaged")


def test_answers_are_sent_without_delay() -> None:
    """Else the body waits for the acknowledgement of the head, 40 ms on a connection that is kept open."""
    (listening,) = listen("127.0.0.1", 0)
    with listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
