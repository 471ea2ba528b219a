"""What the commands that use a model share: its arguments, and loading it from an exported file or a run folder."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path

import torch

from nmt import artifact
from nmt.artifact import Artifact
from nmt.device import pick_device
from nmt.errors import NMTError
from nmt.search.engine import Engine, SearchOptions
from nmt.translator import Translator


def load_model(path: Path, device: str = "auto", dtype: str | None = None) -> Artifact:
    """Load an exported file, or the best model of a run folder; `NMTError` names what is missing or damaged."""
    if not path.is_dir():
        return artifact.load(path, device, dtype)
    try:
        from nmt import export
        from nmt.training import checkpoint  # training code: only where a run folder is asked for
    except ImportError as error:
        raise NMTError(
            f"{path}: a run folder needs {error.name} (pip install 'bahdanau[train]'); or export it: "
            f"python -m nmt.export {path}"
        ) from None
    return export.of_run(checkpoint.load_run(path), pick_device(device), dtype)


def open_translator(model: Artifact, options: argparse.Namespace) -> Translator:
    """A translator with an engine of its own."""
    engine = Engine(model.search, slots=options.slots, device=model.device)
    return Translator.of(model, engine)


def load_from(options: argparse.Namespace, path: Path | None = None) -> Artifact:
    """The model that a command was asked for, or that at `path`; says on stderr what is not as expected."""
    if options.threads:
        torch.set_num_threads(options.threads)
    model = load_model(path or options.model, options.device, options.dtype)
    if model.dtype != artifact.DTYPES[model.manifest.dtype] and options.dtype is None:
        kind = str(model.dtype).removeprefix("torch.")
        print(f"note: {path or options.model}: {model.manifest.dtype} is computed in {kind} here", file=sys.stderr)
    return model


def search_options(options: argparse.Namespace, model: Artifact, n_best: int = 1) -> SearchOptions:
    """The search that was asked for; what was left open is as the model's manifest has it."""
    given = {
        field.name: getattr(options, field.name)
        for field in fields(SearchOptions)
        if getattr(options, field.name, None) is not None
    }
    values = {**model.manifest.search, **given, "n_best": n_best}
    if "beam" not in given:
        values["beam"] = max(values.get("beam", SearchOptions.beam), n_best)
    return SearchOptions(**values)
