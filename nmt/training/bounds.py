"""When a run ends: steps, epochs, minutes or patience."""

from __future__ import annotations

from typing import Any

from nmt.corpus.batching import BucketSampler
from nmt.training.checkpoint import Progress


def used(options: Any, step: int, sampler: BucketSampler, seconds: float) -> float:
    """The share of the run's bound that is used up: the largest of steps, epochs and minutes, 0 to 1."""
    shares = [0.0]
    if options.max_steps:
        shares.append(step / options.max_steps)
    if options.max_epochs:
        shares.append(sampler.epochs / options.max_epochs)
    if options.max_minutes:
        shares.append(seconds / 60 / options.max_minutes)
    return max(shares)


def within_bounds(options: Any, progress: Progress, sampler: BucketSampler) -> bool:
    """Whether a run that has ended may go on, since its bound was raised."""
    return not reason_to_stop(options, progress, sampler, progress.seconds)


def reason_to_stop(options: Any, progress: Progress, sampler: BucketSampler, seconds: float) -> str:
    """Why the run ends now, or nothing."""
    if options.max_steps and progress.step >= options.max_steps:
        return f"max_steps {options.max_steps}"
    if options.max_epochs and sampler.epochs >= options.max_epochs:
        return f"max_epochs {options.max_epochs}"
    if options.max_minutes and seconds >= 60 * options.max_minutes:
        return f"max_minutes {options.max_minutes:g}"
    if progress.failures >= options.patience:
        return f"no better BLEU in {options.patience} validations"
    return ""
