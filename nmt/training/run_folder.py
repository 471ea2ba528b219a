"""A run folder: what training leaves, and what an export or a resumed run reads.

    config.yaml       the whole config, as resolved
    tokenizer.model   the SentencePiece model
    best.pt           the weights with the best validation BLEU, and a description of how they were trained
    last.pt           the training state, for resuming: weights, optimiser, average, batch order, random numbers
    log.jsonl         one JSON object per log line
    samples.json      a few validation pairs, for the parity check of an export

In the way of the data: checkpoint -> **run folder** -> export.
"""

from __future__ import annotations

import datetime
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from nmt.config import Config, load_config
from nmt.corpus.prepared import PreparedCorpus, Split
from nmt.errors import CheckpointError
from nmt.files import atomic_write
from nmt.model.seq2seq import Seq2Seq
from nmt.text.tokenizer import Tokenizer
from nmt.training.checkpoint import load_checkpoint
from nmt.training.state import TrainState
from nmt.training.validation import Scores


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
    """a few validation pairs; with the target language, if the model uses target-language tags"""


def start_run(folder: Path, config: Config, tokenizer: Tokenizer, samples: list[tuple[str, ...]]) -> None:
    """Make a new run folder with its config, tokenizer and samples."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "tokenizer.model") as file:
        file.write(tokenizer.to_bytes())
    with atomic_write(folder / "samples.json") as file:
        file.write(json.dumps(samples, ensure_ascii=False, indent=0).encode())
    with atomic_write(folder / "config.yaml") as file:
        file.write(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True).encode())


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer of a run folder."""
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


def samples(split: Split, count: int = 32) -> list[tuple[str, ...]]:
    """Return the first pairs of each direction, `count` in all, for the parity check of an export.

    Each is a source and a target sentence, with the target language if the model uses target-language tags.
    """
    found: list[tuple[str, ...]] = []
    for number, part in enumerate(split.parts):
        share = (count * (number + 1)) // len(split.parts) - (count * number) // len(split.parts)
        rows = zip(split.source_lines[part.rows], split.target_lines[part.rows], strict=True)
        tag = (part.target_language,) if split.target_tags else ()
        found += [(*row, *tag) for row in list(rows)[:share]]
    return found


def describe_model(
    config: Config, corpus: PreparedCorpus, state: TrainState, scores: Scores, device: torch.device
) -> dict[str, Any]:
    """Describe how a model was trained; the checkpoint and the exported file carry this."""
    languages: dict[str, Any] = dict(zip(("source_language", "target_language"), corpus.pairs[0], strict=True))
    each: dict[str, Any] = {}
    if len(corpus.pairs) > 1:
        languages = {"pairs": [list(pair) for pair in corpus.pairs], "target_tags": bool(corpus.train.target_tags)}
        each = {"valid_bleu_by_direction": {name: round(bleu, 2) for name, bleu in scores.bleu_by_direction.items()}}
    return {
        **languages,
        "max_source_pieces": config.data.max_length,
        "beam": config.search.beam,
        "length_penalty": config.search.length_penalty,
        "config_digest": config.digest(),
        "seed": config.training.seed,
        "steps": state.progress.step,
        "epochs": state.sampler.epoch,
        "minutes": round(state.seconds / 60, 2),
        "valid_bleu": round(scores.bleu, 2),
        **each,
        "valid_signature": scores.signature,
        "hardware": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU",
        "threads": torch.get_num_threads(),
        "date": datetime.date.today().isoformat(),
        "torch": str(torch.__version__),
    }
