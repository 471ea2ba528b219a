"""The whole way once, on the starter corpus: train, score, export, translate, serve. `make demo` runs it.

Each step is one of the project's commands, shown before it runs, so that it can be typed by hand. What a former run
left is used again. Ctrl-C ends the service; with CI=true the demo ends by itself when the service has answered.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from nmt.cli.parser import main_guard
from nmt.errors import NMTError

RUN = Path("runs/starter")
MODEL = Path("models/starter.pt")
DATA = Path("data/starter")
SENTENCES = ("I have given the old man a red apple.", "I know that he can repair the old car.")
HOST = "127.0.0.1"
START_SECONDS = 60.0


def run(*command: str, text: str | None = None) -> None:
    """Run `python -m COMMAND` and show it; raises `NMTError` when it fails (it has said why)."""
    print(f"\n$ {'echo ... | ' if text else ''}python -m {' '.join(command)}", flush=True)
    if subprocess.run([sys.executable, "-m", *command], input=text, text=True).returncode:
        raise NMTError(f"the demo ends here: python -m {command[0]} failed")


def train() -> None:
    """Train and score the starter model, unless an earlier demo has."""
    if MODEL.exists():
        print(f"{MODEL} is there already; remove it and {RUN} to train again")
        return
    if (RUN / "last.pt").exists():
        run("nmt.train", "--run", str(RUN), "--resume")
    else:
        run("nmt.train", "--run", str(RUN))
    run("nmt.evaluate", str(RUN), "--src", str(DATA / "test.en"), "--ref", str(DATA / "test.de"))
    run("nmt.evaluate", str(RUN), "--src", str(DATA / "test_new.en"), "--ref", str(DATA / "test_new.de"))
    MODEL.parent.mkdir(exist_ok=True)
    run("nmt.export", str(RUN), "-o", str(MODEL))


def free_port(preferred: int = 5000) -> int:
    """The preferred port of the service, or any other if it is taken."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise NMTError("no free port for the service")


def ask(port: int, method: str, path: str, body: object = None) -> tuple[int, str]:
    """One HTTP request to the service: status and body."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8")
    finally:
        connection.close()


def wait_until_ready(service: subprocess.Popen[bytes], port: int) -> None:
    """Wait for the service; raises `NMTError` when it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if service.poll() is not None:
            raise NMTError("the service did not start (its message is above)")
        try:
            if ask(port, "GET", "/ready")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise NMTError(f"the service was not ready after {START_SECONDS:.0f} s")


def serve(stay: bool) -> None:
    """Start the service, POST a sentence, check the answer; then wait for Ctrl-C, or end."""
    port = free_port()
    command = ["service", "--models", str(MODEL), "--host", HOST, "--port", str(port)]
    print(f"\n$ python -m {' '.join(command)} &", flush=True)
    service = subprocess.Popen([sys.executable, "-m", *command, "--log-level", "warning"])
    try:
        wait_until_ready(service, port)
        body = {"q": SENTENCES[0], "source": "en", "target": "de"}
        text = json.dumps(body)
        print(f"$ curl http://{HOST}:{port}/translate -H 'Content-Type: application/json' -d '{text}'")
        status, answer = ask(port, "POST", "/translate", body)
        print(answer, flush=True)
        if status != 200 or not json.loads(answer).get("translatedText", "").strip():
            raise NMTError(f"the service answered {status}, not with a translation")
        if stay:
            print(f"\nThe service is at http://{HOST}:{port} (its API: http://{HOST}:{port}/docs). Ctrl-C ends it.")
            service.wait()
    except KeyboardInterrupt:
        print("\nending the service")
    finally:
        if service.poll() is None:
            service.send_signal(signal.SIGTERM)
        service.wait(timeout=60)


def main(argv: Sequence[str] | None = None) -> int:
    """The demo."""
    if (argv or sys.argv[1:]) in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    if not (DATA / "train.en").exists():
        raise NMTError(f"{DATA / 'train.en'} is not here; run the demo in the project's folder")
    train()
    run("nmt.translate", str(MODEL), "--alignments", text="".join(f"{s}\n" for s in SENTENCES))
    serve(stay=os.environ.get("CI", "") != "true")
    return 0


if __name__ == "__main__":
    sys.exit(main_guard(main))
