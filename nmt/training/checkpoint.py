"""A run folder: what training leaves behind, and what it goes on from.

    config.yaml       the whole config, as resolved
    tokenizer.model   the SentencePiece model
    best.pt           the weights with the best validation BLEU, and how they came about
    last.pt           everything that a resumed run needs: weights, optimiser, average, batch order, random numbers
    log.jsonl         one JSON object a log line
    samples.json      a few validation pairs, for the parity check of an export

In the way of the data: model -> **checkpoint** -> export, or back into train.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import pickle
import platform
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from nmt.config import Config, load_config
from nmt.corpus.batching import BucketSampler
from nmt.corpus.prepared import PreparedCorpus, Split
from nmt.errors import CheckpointError
from nmt.files import atomic_write
from nmt.model.seq2seq import Seq2Seq
from nmt.text.tokenizer import Tokenizer
from nmt.training.optim import WeightAverage

FORMAT_VERSION = 2
"""raised when the names of the weights change"""
_MAGIC = b"NMTCKPT1"


@dataclass
class Progress:
    """Where a run is; saved with each checkpoint."""

    step: int = 0
    seconds: float = 0.0
    best_bleu: float = -1.0
    best_step: int = 0
    failures: int = 0
    """validations since the best"""
    signature: str = ""
    finished: str = ""
    """why the run ended, or nothing"""


@dataclass(frozen=True)
class Run:
    """A trained model, ready to be exported or used."""

    model: Seq2Seq
    """eager, float32, in evaluation mode"""
    tokenizer: Tokenizer
    config: Config
    info: dict[str, Any]
    """source_language and target_language (or pairs and target_tags), config_digest, seed, steps, minutes, valid_bleu,
    valid_signature, date, ..."""
    samples: list[tuple[str, ...]]
    """a few validation pairs; with the target language, where a tag names it to the model"""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values to `path`, whole or not at all, with a digest that finds any damage."""
    buffer = io.BytesIO()
    torch.save({"format_version": FORMAT_VERSION, **content}, buffer)
    data = buffer.getvalue()
    with atomic_write(path) as file:
        file.write(_MAGIC + hashlib.sha256(data).digest())
        file.write(data)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; raises `CheckpointError` naming the file when it is missing or damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    head = len(_MAGIC) + 32
    if not content.startswith(_MAGIC[:-1]):
        raise CheckpointError(f"{path}: not a checkpoint of this program")
    if content[: len(_MAGIC)] != _MAGIC:
        raise CheckpointError(f"{path}: made by a newer version of this program, or damaged; upgrade, or train again")
    if hashlib.sha256(content[head:]).digest() != content[len(_MAGIC) : head]:
        raise CheckpointError(f"{path}: damaged (its digest does not match); restore it from a copy, or train again")
    try:
        loaded = torch.load(io.BytesIO(content[head:]), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    if loaded["format_version"] > FORMAT_VERSION:
        raise CheckpointError(f"{path}: made by a newer version of this program; upgrade")
    if loaded["format_version"] < FORMAT_VERSION:
        raise CheckpointError(f"{path}: made by an older version of this program; train again, or export it with that")
    return dict(loaded)


def start_run(folder: Path, config: Config, tokenizer: Tokenizer, samples: list[tuple[str, ...]]) -> None:
    """Lay out a new run folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "tokenizer.model") as file:
        file.write(tokenizer.to_bytes())
    with atomic_write(folder / "samples.json") as file:
        file.write(json.dumps(samples, ensure_ascii=False, indent=0).encode())
    with atomic_write(folder / "config.yaml") as file:
        file.write(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True).encode())


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a run folder."""
    try:
        return Tokenizer((folder / "tokenizer.model").read_bytes())
    except OSError as error:
        raise CheckpointError(f"{folder / 'tokenizer.model'}: cannot be read: {error.strerror}") from None


def load_run(folder: Path) -> Run:
    """Load the best model of a run folder; raises `CheckpointError` naming the file that is missing or damaged."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such run folder")
    if not (folder / "config.yaml").exists():
        raise CheckpointError(f"{folder}: not a run folder (no config.yaml in it)")
    if not (folder / "best.pt").exists():
        raise CheckpointError(f"{folder}: no model yet (no best.pt); train until the first validation")
    config = load_config(folder / "config.yaml")
    tokenizer = load_tokenizer(folder)
    checkpoint = load_checkpoint(folder / "best.pt")
    model = Seq2Seq(config.model, tokenizer.vocabulary)
    try:
        model.load_state_dict(checkpoint["model"])
    except RuntimeError as error:
        raise CheckpointError(
            f"{folder / 'best.pt'}: belongs to another model: {str(error).splitlines()[-1]}"
        ) from None
    try:
        rows = json.loads((folder / "samples.json").read_text("utf-8"))
        samples = [(str(src), str(tgt), *map(str, target)) for src, tgt, *target in rows]
    except (OSError, ValueError, TypeError):
        samples = []
    return Run(model.eval(), tokenizer, config, checkpoint["info"], samples)


def snapshot(
    progress: Progress,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage,
    sampler: BucketSampler,
) -> dict[str, Any]:
    """Everything that decides how the run goes on."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "progress": vars(progress),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.state_dict(),
        "sampler": sampler.state_dict(),
        "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
    }


def restore(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage, sampler: BucketSampler
) -> Progress:
    """Take over what `snapshot` kept."""
    content = load_checkpoint(path)
    try:
        model.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
        average.load_state_dict(content["average"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: belongs to another model: {str(error).splitlines()[0]}") from None
    sampler.load_state_dict(content["sampler"])
    torch.set_rng_state(content["random"]["cpu"])
    if content["random"]["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(content["random"]["cuda"])
    return Progress(**content["progress"])


def samples(split: Split, count: int = 32) -> list[tuple[str, ...]]:
    """The first pairs of each direction, `count` in all, for the parity check of an export.

    Source and target sentence, and the target language where the model is told it by a tag.
    """
    found: list[tuple[str, ...]] = []
    for number, part in enumerate(split.parts):
        share = (count * (number + 1)) // len(split.parts) - (count * number) // len(split.parts)
        rows = zip(split.source_lines[part.rows], split.target_lines[part.rows], strict=True)
        tag = (part.target_language,) if split.target_tags else ()
        found += [(*row, *tag) for row in list(rows)[:share]]
    return found


def describe_model(
    config: Config,
    corpus: PreparedCorpus,
    progress: Progress,
    scores: dict[str, float],
    epoch: int,
    seconds: float,
    device: torch.device,
) -> dict[str, Any]:
    """How a saved model came about; goes into the checkpoint and from there into the exported file."""
    languages: dict[str, Any] = dict(zip(("source_language", "target_language"), corpus.pairs[0], strict=True))
    each: dict[str, Any] = {}
    if len(corpus.pairs) > 1:
        languages = {"pairs": [list(pair) for pair in corpus.pairs], "target_tags": bool(corpus.train.target_tags)}
        each = {"valid_bleu_by_direction": {str(part): round(scores[f"bleu {part}"], 2) for part in corpus.valid.parts}}
    return {
        **languages,
        "max_source_pieces": config.data.max_length,
        "beam": config.search.beam,
        "length_penalty": config.search.length_penalty,
        "config_digest": config.digest(),
        "seed": config.training.seed,
        "steps": progress.step,
        "epochs": epoch,
        "minutes": round(seconds / 60, 2),
        "valid_bleu": round(progress.best_bleu, 2),
        **each,
        "valid_signature": progress.signature,
        "hardware": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU",
        "threads": torch.get_num_threads(),
        "date": datetime.date.today().isoformat(),
        "torch": str(torch.__version__),
    }
