"""Exported models from a file or a folder. Only this module imports torch, and it is itself imported after the server
started."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import torch

from nmt import artifact
from nmt.artifact import Artifact, Manifest
from nmt.device import keep_freed_memory, limit_heaps, return_freed_memory
from nmt.search.engine import Engine, Request, SearchOptions
from nmt.search.pool import SAMPLE, EnginePool, set_own_threads
from nmt.text.special_ids import EOS, UNK
from nmt.translator import Translator
from service.interfaces import Observer
from service.models import Description, Model, Search, Stamp
from service.settings import Settings, model_files
from service.worker import Worker

log = logging.getLogger("service")


class Folder:
    """The exported files of a folder, or one file (service.registry.Source)."""

    def __init__(self, settings: Settings, observer: Observer) -> None:
        self._settings = settings
        self._observer = observer
        self._threads = settings.threads or torch.get_num_threads()
        keep_freed_memory()
        # One for each engine of a model and of its successor, the event loop and the thread that loads. Else each load,
        # in a thread of its own, leaves free memory in another heap.
        limit_heaps(2 * self._threads + 2)
        self._files: dict[str, Path] = {}
        self._advised = False

    def look(self) -> dict[str, Stamp]:
        """See `Source`."""
        stamps: dict[str, Stamp] = {}
        for path in model_files(self._settings.models):
            name = path.name.removesuffix(".pt")
            self._files[name] = path
            try:
                status = path.stat()
            except FileNotFoundError:  # just now
                continue
            stamps[name] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return stamps

    def describe(self, name: str) -> Description:
        """See `Source`."""
        path = self._files[name]
        return _describe(name, path, artifact.read_manifest(path))

    def load(self, name: str) -> Model:
        """See `Source`."""
        settings, path = self._settings, self._files[name]
        log.info("loading %s", path)
        set_own_threads(self._threads)
        dtype = None if settings.dtype == "stored" else settings.dtype
        loaded = artifact.load(path, settings.device, dtype)
        if loaded.kernels_advice and not self._advised:
            self._advised = True
            log.info("C++ kernels, which are several times as fast: %s", loaded.kernels_advice)
        engines = settings.engines or _fastest(loaded, settings, self._threads)
        if loaded.device.type != "cpu":
            engines = 1
        rows = max(1, settings.rows // engines)

        def make_engine() -> Engine:
            set_own_threads(max(1, self._threads // engines))
            return Engine(loaded.search, rows=rows, device=loaded.device, graphs=settings.cuda_graphs)

        worker = Worker(
            make_engine,
            rows=rows,
            capacity=settings.queue,
            timeout_s=settings.timeout_s,
            engines=engines,
            name=f"worker {name}",
            observer=self._observer,
        )
        worker.start()
        search = Search(settings.beam, settings.length_penalty, settings.split_sentences, settings.stop_at)
        return Model(_describe(name, path, loaded.manifest), Translator.from_artifact(loaded), worker, search)

    def freed(self) -> None:
        """See `Source`."""
        return_freed_memory()


def _describe(name: str, path: Path, manifest: Manifest) -> Description:
    status = path.stat()
    exported = manifest.created or datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
    return Description(
        name, manifest.pairs, exported, status.st_mtime, manifest.dtype, status.st_size, manifest.checksum
    )


def _fastest(model: Artifact, settings: Settings, threads: int) -> int:
    """Return the number of engines with which a full load of short sentences is translated fastest."""
    if threads == 1 or model.device.type != "cpu":
        return 1
    pool = EnginePool(model.search, rows=settings.rows, threads=threads, device=model.device)
    options = SearchOptions(beam=settings.beam or model.manifest.search.get("beam", SearchOptions.beam), max_length=8)
    src = (*[UNK] * 16, EOS)
    pool.measure([Request(i, src, options) for i in range(SAMPLE * threads.bit_length())])
    assert pool.engines is not None
    log.info("%d engines of %d threads are fastest", pool.engines, threads // pool.engines)
    return pool.engines
