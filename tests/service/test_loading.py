"""Exported files as a source of models, and a server whose files are replaced while it answers."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import httpx
import pytest

from nmt.config import ModelConfig
from nmt.errors import ArtifactError
from nmt.export import build
from nmt.text.special_ids import EOS
from service.loading import Folder
from service.metrics import Metrics
from service.settings import load_settings
from tests.copy_model import CopyRun, exported, tokenizer
from tests.family import nested, seeded
from tests.service.test_server import server, translate


def test_a_folder_is_described_and_loaded(tmp_path: Path) -> None:
    (tmp_path / "copy.pt").write_bytes(exported())
    (tmp_path / "half.pt").write_bytes(exported()[:1000])
    (tmp_path / "other.txt").write_bytes(b"")
    folder = Folder(load_settings(models=tmp_path, engines=1, beam=1), Metrics())
    first = folder.look()
    assert set(first) == {"copy", "half"}
    about = folder.describe("copy")
    assert (about.name, about.pairs, about.dtype) == ("copy", (("en", "de"),), "float32")
    assert about.size_bytes == len(exported())
    with pytest.raises(ArtifactError, match=r"half\.pt: cut off"):
        folder.describe("half")
    model = folder.load("copy")
    model.warm_up()
    assert model.description == about
    model.close(5.0)
    os.utime(tmp_path / "copy.pt", (1e9, 1e9))
    assert folder.look()["half"] == first["half"]
    assert folder.look()["copy"] != first["copy"]


@cache
def version(seed: int) -> bytes:
    """An export of an untrained LSTM model of 3 MB, which ends each translation soon."""
    sizes = {"embedding": 128, "encoder.hidden": 128, "decoder.hidden": 256, "decoder.attention_size": 128}
    model = seeded(ModelConfig.model_validate(nested(sizes)), tokenizer().vocabulary, seed)
    model.output.bias.data[EOS] += 2.0
    return build(CopyRun(model=model.eval()))[0]


def replace(path: Path, content: bytes) -> None:
    """Write a file at once."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


class Clients:
    """Clients that translate again and again until `stop`; none does while `paused`."""

    def __init__(self, client: httpx.Client, count: int) -> None:
        self.statuses: list[int] = []
        self._base_url = client.base_url
        self._ended = False
        self._allowed = threading.Event()
        self._allowed.set()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._base_url, timeout=300, trust_env=False) as own:
            while not self._ended:
                self._allowed.wait()
                answer = own.post("/translate", json={"q": "the fox", "source": "en", "target": "de"})
                self.statuses.append(answer.status_code)

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._allowed.clear()
        yield
        self._allowed.set()

    def stop(self) -> None:
        self._ended = True
        for thread in self._threads:
            thread.join()


def measured(process: subprocess.Popen[str]) -> tuple[float, int]:
    """MB and threads of a process."""
    time.sleep(1.0)  # a model that was replaced is closed in the background
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1024, int(status["Threads"])


@pytest.mark.slow
def test_fifty_reloads_under_load_lose_no_request_and_leave_no_thread_and_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    replace(path, version(0))
    command = ("-m", "service", "--models", str(tmp_path), "--port", "{port}", "--reload-s", "0", "--beam", "1")
    # A machine that stands still for a while must not look like a hung step, or an idle connection.
    patient = {"NMT_HANG_S": "600", "NMT_IDLE_S": "600", "NMT_TIMEOUT_S": "600"}
    with server(*command, NMT_ADMIN_KEY="k", NMT_ENGINES="1", **patient) as (process, client):
        clients = Clients(client, 4)
        figures: list[tuple[float, int]] = []

        def reload(n: int) -> None:
            bad = n % 5 == 4
            replace(path, version(n % 3)[:5000] if bad else version(n % 3))
            answer = client.post("/admin/reload", headers={"Authorization": "Bearer k"}, timeout=300)
            assert answer.status_code == (422 if bad else 200), answer.text

        for n in range(1, 51):
            if n % 10:
                reload(n)
                continue
            with clients.paused():
                reload(n)
                figures.append(measured(process))
        clients.stop()
    print(f"{len(clients.statuses)} answers; MB and threads after each ten reloads: {figures}")
    assert set(clients.statuses) == {200}
    assert figures[-1][0] < figures[0][0] + 80  # it goes up and down by 25; a model has 7, and forty were closed
    assert figures[-1][1] <= figures[0][1]


def test_a_watched_folder_takes_a_whole_file_only(tmp_path: Path) -> None:
    (tmp_path / "first.pt").write_bytes(exported())
    command = ("-m", "service", "--models", str(tmp_path), "--port", "{port}", "--reload-s", "0.1", "--beam", "1")
    with server(*command, NMT_ENGINES="1") as (_, client):
        content = version(0)
        with (tmp_path / "second.pt").open("wb") as file:
            for n in range(10):
                file.write(content[len(content) * n // 10 : len(content) * (n + 1) // 10])
                file.flush()
                assert translate(client, "the fox", model="first")["translatedText"] == "the fox"
        names: list[str] = []
        while names != ["first", "second"]:
            names = [one["name"] for one in client.get("/models").json() if one["state"] == "ready"]
        assert translate(client, "the fox", model="second")["model"] == "second"
