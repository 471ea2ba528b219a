"""Loading a model from an exported file or from a run folder.

Only a run folder needs the training code: it is imported when one is named, so that an exported file can be used where
torch and sentencepiece are the only packages.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path

import torch

from nmt import artifact
from nmt.artifact import Artifact
from nmt.device import keep_freed_memory, pick_device
from nmt.errors import EXTRA_OF, MissingPackageError
from nmt.search.pool import EnginePool


def load_model(
    path: str | os.PathLike[str], device: str = "auto", dtype: str | None = None, *, shortlist: bool = True
) -> Artifact:
    """Load an exported file (see `nmt.artifact.load`), or the best model of a run folder.

    A run folder's model is float32, or converted to `dtype` as an export would be. Raises `ArtifactError` or
    `CheckpointError` naming what is missing or damaged, and `MissingPackageError` without the training packages.
    """
    path = Path(path)
    if not path.is_dir():
        return artifact.load(path, device, dtype, shortlist=shortlist)
    try:
        from nmt.export import from_run
        from nmt.training.run_folder import load_run
    except ModuleNotFoundError as error:
        if error.name not in EXTRA_OF:
            raise
        raise MissingPackageError(f"{path}: a run folder", error.name) from None
    return from_run(load_run(path), pick_device(device), dtype)


def load_from(options: argparse.Namespace, path: Path | None = None) -> Artifact:
    """Load MODEL, or the model at `path`, for a command; note on stderr if it is computed in another type.

    At a terminal, also note if the kernels can be built.

    Sets the threads as the options say, and the process to keep freed memory. What is loaded is left out of garbage
    collections from then on: going through all objects of torch takes as long as to translate 50 sentences.
    """
    keep_freed_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    model = load_model(path or options.model, options.device, options.dtype, shortlist=options.shortlist)
    if model.dtype != artifact.DTYPES[model.manifest.dtype] and options.dtype is None:
        kind = str(model.dtype).removeprefix("torch.")
        print(f"note: {path or options.model}: {model.manifest.dtype} is computed in {kind} here", file=sys.stderr)
    if model.kernels_advice and sys.stderr.isatty():
        print(f"note: C++ kernels, which are several times as fast: {model.kernels_advice}", file=sys.stderr)
    gc.freeze()
    return model


def pool_for(model: Artifact, options: argparse.Namespace) -> EnginePool:
    """Return engines for a model, as many and as large as the options say."""
    return EnginePool(
        model.search, rows=options.rows, engines=options.engines, device=model.device, graphs=options.cuda_graphs
    )
