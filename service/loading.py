"""Loading exported models. Only this module imports torch, and it is itself imported after the server started."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from nmt import artifact
from nmt.search.engine import Engine, SearchOptions
from nmt.text.special_ids import UNK
from nmt.translator import Plan, Translator
from service import languages
from service.models import Model, Models, Output, Pair
from service.settings import Settings, model_files
from service.worker import Observer, Worker

log = logging.getLogger("service")

DEFAULT_BEAM = 5
DEFAULT_LENGTH_PENALTY = 1.0


@dataclass(frozen=True)
class NMTPipeline:
    """nmt.translator's halves with the service's options. ``codes``: normalised code -> the model's own."""

    translator: Translator
    beam: int
    length_penalty: float
    split_sentences: bool
    codes: dict[str, str]

    def plan(self, text: str, source: str, target: str, alternatives: int) -> Plan:
        """Cut and encode; a beam wide enough for the alternatives."""
        wanted = alternatives + 1
        options = SearchOptions(beam=max(self.beam, wanted), n_best=wanted, length_penalty=self.length_penalty)
        return self.translator.plan(
            text,
            options,
            split_sentences=self.split_sentences,
            source=self.codes[source],
            target=self.codes[target],
        )

    def revise(self, plan: Plan, results: Sequence[Any]) -> Plan | None:
        """What did not end is tried once more, in halves."""
        return self.translator.revise(plan, results)

    def join(self, plan: Plan, results: Sequence[Any]) -> Output:
        """Put the text together; alternatives that differ from it and from each other."""
        translation = self.translator.join(plan, results)
        others = dict.fromkeys(other for other in translation.alternatives if other != translation.text)
        return Output(translation.text, tuple(others))

    def confidence(self, text: str) -> float:
        """Share of the text's pieces that the model knows, 0 to 100."""
        ids = self.translator.tokenizer.encode(text)
        return round(100.0 * sum(index != UNK for index in ids) / len(ids), 1) if ids else 0.0


def load_models(settings: Settings, observer: Observer, stopped: Callable[[], bool]) -> Models:
    """Load and warm up all models; end early once ``stopped``. Raises NMTError or SettingsError."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    models: list[Model] = []
    try:
        for file, pairs in assign_pairs(model_files(settings.models)).items():
            if stopped():
                break
            log.info("loading %s", file)
            model = _load(file, pairs, settings, observer)
            models.append(model)
            model.warm_up()
        return Models(models)
    except BaseException:
        for model in models:
            model.close(1.0)
        raise


def _load(file: Path, pairs: Sequence[Pair], settings: Settings, observer: Observer) -> Model:
    dtype = None if settings.dtype == "stored" else settings.dtype
    loaded = artifact.load(file, settings.device, dtype)
    search = loaded.manifest.search
    pipeline = NMTPipeline(
        Translator.of(loaded),
        settings.beam or int(search.get("beam", DEFAULT_BEAM)),
        float(search.get("length_penalty", DEFAULT_LENGTH_PENALTY))
        if settings.length_penalty is None
        else settings.length_penalty,
        settings.split_sentences,
        {languages.normalise(code): code for pair in loaded.manifest.pairs for code in pair},
    )
    worker = Worker(
        lambda: Engine(loaded.search, slots=settings.slots, device=loaded.device),
        slots=settings.slots,
        capacity=settings.queue,
        name=f"worker {file.name}",
        observer=observer,
    )
    worker.start()
    return Model(file.name, pairs, pipeline, worker)


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
