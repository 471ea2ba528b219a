"""Train the members and translate the test set: one after another, or several at the same time, each in a process.

In the way of the data: configs and corpus -> **runs** -> run folders and hypotheses, the input of all measurements.

    OUT/runs/MEMBER/            a run folder of nmt.train
    OUT/hypotheses/MEMBER.txt   translations of the test set by the member's best model, one sentence per line

Existing files are kept, and a run that was killed is resumed from its last checkpoint.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import torch

from nmt.config import Config, load_config
from nmt.corpus.prepared import Split
from nmt.device import pick_device
from nmt.errors import CheckpointError, NMTError
from nmt.experiments.plan import Member
from nmt.files import atomic_write
from nmt.search.beam import BeamSearch
from nmt.search.engine import Engine, Result, SearchOptions
from nmt.train import train
from nmt.training.checkpoint import load_checkpoint
from nmt.training.run_folder import load_run
from nmt.training.run_log import clock
from nmt.translation import Translation
from nmt.translator import Translator


def say(line: str) -> None:
    """Print a line about the experiment's progress."""
    print(line, file=sys.stderr, flush=True)


def run_folder(out: Path, name: str) -> Path:
    """Return the run folder of a member."""
    return out / "runs" / name


def hypotheses_file(out: Path, name: str) -> Path:
    """Return the file of a member's translations of the test set."""
    return out / "hypotheses" / f"{name}.txt"


def is_done(out: Path, member: Member) -> bool:
    """Return whether the member is trained and the test set translated.

    Raises `CheckpointError` if the run folder was trained with other settings.
    """
    return _state(run_folder(out, member.name), member.config) == "finished" and _has_translated(out, member)


def produce(out: Path, member: Member, test: Split) -> None:
    """Train a member and translate the test set, where that is not done yet."""
    folder = run_folder(out, member.name)
    state = _state(folder, member.config)
    if state != "finished":
        if state == "new" and folder.exists():
            shutil.rmtree(folder)  # killed before its first checkpoint
        train(member.config, folder, resume=state == "begun")
    if not _has_translated(out, member):
        began = time.monotonic()
        lines = [" ".join(t.text.split()) for t in translate(out, member, test.source_lines)]
        path = hypotheses_file(out, member.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
        say(f"test set: {len(lines):,} sentences translated in {clock(time.monotonic() - began)}")


def _state(folder: Path, config: Config) -> str:
    """Return the state of a run: new, begun or finished."""
    if not (folder / "last.pt").exists():
        return "new"
    if (kept := load_config(folder / "config.yaml").digest()) != config.digest():
        raise CheckpointError(
            f"{folder}: was trained with other settings (config {kept}, now {config.digest()}); "
            "give --out another folder, or remove this one"
        )
    return "finished" if load_checkpoint(folder / "last.pt")["progress"]["finished"] else "begun"


def _has_translated(out: Path, member: Member) -> bool:
    return hypotheses_file(out, member.name).exists()


def translate(out: Path, member: Member, lines: Sequence[str]) -> list[Translation]:
    """Translate `lines` with the member's best model, each line as one sentence.

    This is `Translator.translate` without its retry, in which a truncated sentence is translated again in two halves:
    that would hide the effect of a fixed context on long sentences.
    """
    device = pick_device(member.config.training.device)
    run = load_run(run_folder(out, member.name))
    engine = Engine(BeamSearch(run.model.to(device)), device=device)
    translator = Translator(run.tokenizer, max_source_pieces=1 << 20)
    search = member.config.search
    options = SearchOptions(beam=search.beam, length_penalty=search.length_penalty)
    with torch.inference_mode():
        plans = [translator.plan(line, options, split_sentences=False) for line in lines]
        results: dict[object, Result] = {r.key: r for r in engine.run([r for plan in plans for r in plan.requests])}
    return [translator.join(plan, results) for plan in plans]


def produce_side_by_side(members: Sequence[Member], arguments: Sequence[str], jobs: int, threads: int) -> None:
    """Produce the members, `jobs` at a time, each by the experiment's own command line `arguments` in a process.

    When this process is stopped, so are they, after saving a checkpoint. Raises `NMTError` if any of them fails.
    """
    waiting = deque(members)
    running: dict[str, tuple[subprocess.Popen[str], threading.Thread]] = {}
    failed: list[str] = []
    done = 0
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.popleft().name
                own = ["--members", name, "--jobs", "1", "--threads", str(threads), "--only-train"]
                command = [sys.executable, "-m", "nmt.experiments", *arguments, *own]
                process = subprocess.Popen(
                    command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
                )
                relay = threading.Thread(target=_relay, args=(name, process.stderr), daemon=True)
                relay.start()
                running[name] = process, relay
            for name, (process, relay) in list(running.items()):
                if process.poll() is not None:
                    relay.join()
                    del running[name]
                    done += 1
                    failed += [name] * (process.returncode != 0)
                    say(f"[{name}] {'failed' if process.returncode else 'done'}: {done} of {len(members)} members")
            time.sleep(0.1)
    finally:
        for process, _ in running.values():
            process.terminate()
        for process, relay in running.values():
            process.wait()
            relay.join()
    if failed:
        raise NMTError(f"{', '.join(failed)} failed, see above; run the same command again to go on")


def _relay(name: str, stream: IO[str]) -> None:
    with stream:
        for line in stream:
            say(f"[{name}] {line.rstrip()}")
