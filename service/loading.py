"""Loading exported models. Only this module imports torch, and it is itself imported after the server started."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from nmt import artifact
from nmt.artifact import Artifact
from nmt.device import keep_freed_memory
from nmt.search.engine import Engine, Request, SearchOptions
from nmt.search.pool import SAMPLE, EnginePool, set_own_threads
from nmt.text.special_ids import EOS, UNK
from nmt.translator import Translator
from service import languages
from service.interfaces import Observer
from service.models import Model, Models, Pair, Search
from service.settings import Settings, model_files
from service.worker import Worker

log = logging.getLogger("service")


def load_models(settings: Settings, observer: Observer, stopped: Callable[[], bool]) -> Models:
    """Load and warm up all models; end early once ``stopped``. Raises NMTError or SettingsError."""
    keep_freed_memory()
    threads = settings.threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    models: list[Model] = []
    try:
        for file, pairs in assign_pairs(model_files(settings.models)).items():
            if stopped():
                break
            log.info("loading %s", file)
            model = _load(file, pairs, settings, threads, observer)
            models.append(model)
            model.warm_up()
        loaded = Models(models, pivot=settings.pivot)
        loaded.load_detector()
        # What is there now stays. Else the garbage collector would go through it again and again, torch's hundred
        # thousands of objects too, and all threads would wait: 0.1 s each time.
        gc.collect()
        gc.freeze()
        return loaded
    except BaseException:
        for model in models:
            model.close(1.0)
        raise


def _load(file: Path, pairs: Sequence[Pair], settings: Settings, threads: int, observer: Observer) -> Model:
    dtype = None if settings.dtype == "stored" else settings.dtype
    loaded = artifact.load(file, settings.device, dtype)
    if loaded.kernels_advice:
        log.info("C++ kernels, which are several times as fast: %s", loaded.kernels_advice)
    engines = settings.engines or _fastest(loaded, settings, threads)
    if loaded.device.type != "cpu":
        engines = 1
    rows = max(1, settings.rows // engines)

    def make_engine() -> Engine:
        set_own_threads(max(1, threads // engines))
        return Engine(loaded.search, rows=rows, device=loaded.device, graphs=settings.cuda_graphs)

    worker = Worker(
        make_engine,
        rows=rows,
        capacity=settings.queue,
        timeout_s=settings.timeout_s,
        engines=engines,
        name=f"worker {file.name}",
        observer=observer,
    )
    worker.start()
    search = Search(settings.beam, settings.length_penalty, settings.split_sentences, settings.stop_at)
    return Model(file.name, pairs, Translator.from_artifact(loaded), worker, search)


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


def assign_pairs(files: Sequence[Path]) -> dict[Path, list[Pair]]:
    """Return the language pairs that each file serves: of several files for one pair, the one exported last.

    Equal dates of export are decided by the dates of the files. A file left without pairs is not in the result.
    Raises ArtifactError for a damaged file.
    """
    manifests = {file: artifact.read_manifest(file) for file in files}
    exported: dict[Path, tuple[str, float]] = {}
    for file, manifest in manifests.items():
        written = file.stat().st_mtime
        created = manifest.created or datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds")
        exported[file] = created, written
    newest: dict[Pair, Path] = {}
    for file in sorted(files, key=lambda file: exported[file], reverse=True):
        for source, target in manifests[file].pairs:
            newest.setdefault((languages.normalise(source), languages.normalise(target)), file)
    served: dict[Path, list[Pair]] = {}
    for file in files:
        for source, target in manifests[file].pairs:
            chosen = newest[languages.normalise(source), languages.normalise(target)]
            if chosen == file:
                served.setdefault(file, []).append((source, target))
            else:
                log.warning(
                    "%s is not used for %s-%s: %s is newer (exported %s, not %s); to serve it instead: --models %s",
                    file, source, target, chosen, exported[chosen][0], exported[file][0], file,
                )  # fmt: skip
    return served
