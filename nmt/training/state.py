"""The state of a training run: everything that decides how it continues, saved and restored together.

In the way of the data: **state** -> checkpoint. A run that was killed and resumed ends bit for bit where the
uninterrupted run ends (on a CPU, with the same number of threads).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from nmt.corpus.batching import BucketSampler
from nmt.errors import CheckpointError
from nmt.model.seq2seq import Seq2Seq
from nmt.training.checkpoint import load_checkpoint
from nmt.training.optim import WeightAverage
from nmt.training.validation import Scores


@dataclass
class Progress:
    """How far a run is."""

    step: int = 0
    """updates made"""
    seconds: float = 0.0
    """wall time until the last save, all sessions of the run together"""
    best_bleu: float = -1.0
    best_step: int = 0
    failures: int = 0
    """validations since the best"""
    signature: str = ""
    """sacreBLEU signature of `best_bleu`"""
    finished: str = ""
    """why the run ended; empty while it has not"""

    def count_validation(self, scores: Scores) -> bool:
        """Record a validation; return whether it is the best so far."""
        if scores.bleu <= self.best_bleu:
            self.failures += 1
            return False
        self.best_bleu, self.best_step, self.signature = scores.bleu, self.step, scores.signature
        self.failures = 0
        return True


class TrainState:
    """Model, optimiser, weight average, batch order and progress; the random number generators belong to it too."""

    def __init__(
        self,
        model: Seq2Seq,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage,
        sampler: BucketSampler,
        started: float,
    ) -> None:
        """`started`: the value of `time.monotonic()` when the run began."""
        self.model = model
        self.optimizer = optimizer
        self.average = average
        self.sampler = sampler
        self.progress = Progress()
        self._started = started

    @property
    def seconds(self) -> float:
        """Wall time of the run so far, earlier sessions included."""
        return time.monotonic() - self._started

    def content(self) -> dict[str, Any]:
        """Return the content of a checkpoint; tensors are not copied."""
        self.progress.seconds = self.seconds
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict(),
            "sampler": self.sampler.state_dict(),
            "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
        }

    def restore(self, path: Path) -> None:
        """Continue from the checkpoint `path`; raises `CheckpointError` if it belongs to another model or corpus."""
        content = load_checkpoint(path)
        try:
            self.model.load_state_dict(content["model"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.average.load_state_dict(content["average"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path}: belongs to another model: {str(error).splitlines()[0]}") from None
        self.sampler.load_state_dict(content["sampler"])
        torch.set_rng_state(content["random"]["cpu"])
        if content["random"]["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(content["random"]["cuda"])
        self.progress = Progress(**content["progress"])
        self._started -= self.progress.seconds

    @contextmanager
    def averaged_weights(self) -> Iterator[Seq2Seq]:
        """Give the model its averaged weights inside the block: these are validated and saved as the best."""
        self.average.swap(self.model)
        try:
            yield self.model
        finally:
            self.average.swap(self.model)
