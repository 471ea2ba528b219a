"""Learning curves of a run: validation BLEU and perplexity by training step.

In the way of the data: log.jsonl of a run folder -> **curves** -> table and figures.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Validation:
    """One validation of a run."""

    step: int
    bleu: float
    perplexity: float


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a run's log."""
    lines = (folder / "log.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def validations(folder: Path) -> list[Validation]:
    """Return all validations of a run, in order."""
    records = [record for record in read_log(folder) if record["kind"] == "valid"]
    return [Validation(record["step"], record["bleu"], record["perplexity"]) for record in records]


def training_speed(folder: Path) -> float:
    """Return the target pieces per second in training: the median of the log lines, as some include a validation."""
    speeds = [r["tokens_per_second"] for r in read_log(folder) if r["kind"] == "train"]
    return statistics.median(speeds) if speeds else 0.0
