"""All steps on the starter corpus: train, export, score, translate, serve. `make demo` runs it.

Each step is one of the project's commands, printed before it runs as it can be pasted into a shell. What an earlier
demo left is used again. Ctrl-C ends the service; with CI=true the demo ends by itself when the service has answered.
"""

from __future__ import annotations

from nmt.cli.launch import interpreter, launch

if __name__ == "__main__":  # above the imports that may fail, see nmt/cli/launch.py
    raise SystemExit(launch("nmt.demo"))

import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from nmt.cli.parser import Parser
from nmt.errors import NMTError
from nmt.starter import FILE, train_and_export

RUN = Path("runs/starter")
MODEL = Path("models") / FILE
DATA = Path("data/starter")
SENTENCES = ("I have given the old man a red apple.", "I know that he can repair the old car.")
HOST = "127.0.0.1"
START_SECONDS = 60.0


def command_line(command: str, *arguments: str, lines: Sequence[str] = ()) -> str:
    """Return the command line for a shell; `lines` are piped into it."""
    line = shlex.join([interpreter(), "-m", command, *arguments])
    return f"printf '%s\\n' {shlex.join(lines)} | {line}" if lines else line


def run(command: str, *arguments: str, lines: Sequence[str] = ()) -> None:
    """Print and run `python -m COMMAND` with `lines` as its input; raises `NMTError` when it fails (it says why)."""
    print(f"\n$ {command_line(command, *arguments, lines=lines)}", flush=True)
    text = "".join(f"{line}\n" for line in lines) if lines else None
    if subprocess.run([sys.executable, "-m", command, *arguments], input=text, text=True).returncode:
        raise NMTError(f"the demo ends here: python -m {command} failed, see above")


def train() -> None:
    """Train, export and score the starter model, unless an earlier demo has."""
    if MODEL.exists():
        print(f"{MODEL} exists already; remove it and {RUN} to train again")
        return
    train_and_export(RUN, MODEL, run)
    for test in ("test", "test_new"):
        run("nmt.evaluate", str(MODEL), "--src", str(DATA / f"{test}.en"), "--ref", str(DATA / f"{test}.de"))


def free_port(preferred: int = 5000) -> int:
    """Return the preferred port, or any free one if it is taken; raises `NMTError` if there is none."""
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
    """Send an HTTP request to the service; returns status and body."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8")
    finally:
        connection.close()


def wait_until_ready(service: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the service is ready; raises `NMTError` if it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if service.poll() is not None:
            raise NMTError("the service did not start, see above")
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
    arguments = ["--models", str(MODEL), "--host", HOST, "--port", str(port)]
    print(f"\n$ {command_line('service', *arguments)} &", flush=True)
    # SIGTERM ends the demo as Ctrl-C does; by default it would leave the service running, without a terminal.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    service = subprocess.Popen([sys.executable, "-m", "service", *arguments, "--log-level", "warning"])
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
            print("In another terminal, in this folder:")
            print(f"    {command_line('nmt.translate', str(MODEL), lines=SENTENCES[:1])}", flush=True)
            service.wait()
    except KeyboardInterrupt:
        print("\nending the service")
    finally:
        if service.poll() is None:
            service.send_signal(signal.SIGTERM)
        service.wait(timeout=60)
        signal.signal(signal.SIGTERM, previous)


def activation() -> str:
    """Explain how to get the plain `python` of this virtual environment; empty where the shell has it."""
    shown = Path(interpreter())
    if shown.parent == Path() or sys.prefix == sys.base_prefix:
        return ""
    return f"to type python for {shown}: source {shlex.quote(str(shown.parent / 'activate'))}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns its exit code."""
    Parser("python -m nmt.demo", __doc__ or "").parse_args(argv)
    if not (DATA / "train.en").exists():
        raise NMTError(f"{DATA / 'train.en'}: no such file; run the demo in the project's folder")
    print(f"The steps can be pasted one by one{f' ({hint})' if (hint := activation()) else ''}.")
    train()
    run("nmt.translate", str(MODEL), "--alignments", lines=SENTENCES)
    serve(stay=os.environ.get("CI", "") != "true")
    return 0
