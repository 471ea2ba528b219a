"""From exported files to models at work: the one module that imports ``nmt`` and torch, itself imported late."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from nmt import artifact
from nmt.search.engine import Engine
from nmt.translator import Translator
from service import languages
from service.models import Model, Models, Search
from service.settings import Settings, SettingsError
from service.worker import Observer, Worker

log = logging.getLogger("service")


def model_files(path: Path) -> list[Path]:
    """The exported file, or those of a folder. Raises SettingsError when there is none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise SettingsError(f"models: {path}: no such file or folder; make a model with python -m nmt.export")
    files = sorted(file for file in path.glob("*.pt") if file.is_file())
    if not files:
        raise SettingsError(
            f"models: {path}: no exported model (*.pt) in this folder; make one with python -m nmt.export"
        )
    return files


def load_models(settings: Settings, observer: Observer, stopped: Callable[[], bool]) -> Models:
    """Load and warm up all models; gives up early when ``stopped``. Raises NMTError or SettingsError, each one line."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    files = model_files(settings.models)
    _refuse_rivals(files)
    models: list[Model] = []
    try:
        for file in files:
            if stopped():
                break
            log.info("loading %s", file)
            model = _load(file, settings, observer)
            models.append(model)
            model.warm_up()
        return Models(models)
    except BaseException:
        for model in models:
            model.close(1.0)
        raise


def _load(file: Path, settings: Settings, observer: Observer) -> Model:
    dtype = None if settings.dtype == "stored" else settings.dtype
    loaded = artifact.load(file, settings.device, dtype)
    worker = Worker(
        lambda: Engine(loaded.search, slots=settings.slots, device=loaded.device),
        slots=settings.slots,
        capacity=settings.queue,
        name=f"worker {file.name}",
        observer=observer,
    )
    worker.start()
    search = Search(settings.beam, settings.length_penalty, settings.split_sentences)
    return Model(file.name, loaded.manifest.pairs, Translator.from_artifact(loaded), worker, search)


def _refuse_rivals(files: Sequence[Path]) -> None:
    """Find two files for one pair before anything slow is done."""
    first: dict[tuple[str, str], Path] = {}
    for file in files:
        for pair in artifact.read_manifest(file).pairs:
            key = (languages.normalise(pair[0]), languages.normalise(pair[1]))
            if key in first:
                raise SettingsError(
                    f"models: {first[key]} and {file} both translate {pair[0]} to {pair[1]}; remove one of them"
                )
            first[key] = file
