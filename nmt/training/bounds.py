"""When a run ends: after so many steps, epochs or minutes, or when validation stops improving."""

from __future__ import annotations

from nmt.config import TrainingConfig
from nmt.training.state import TrainState


def used(options: TrainingConfig, state: TrainState) -> float:
    """Return the share of the run's bound that is used up, 0 to 1: the largest of steps, epochs and minutes."""
    shares = [0.0]
    if options.max_steps:
        shares.append(state.progress.step / options.max_steps)
    if options.max_epochs:
        shares.append(state.sampler.epochs / options.max_epochs)
    if options.max_minutes:
        shares.append(state.seconds / 60 / options.max_minutes)
    return max(shares)


def reason_to_stop(options: TrainingConfig, state: TrainState, seconds: float | None = None) -> str:
    """Return why the run ends now, or an empty string.

    seconds: wall time to compare with `max_minutes`, by default the run's present one.
    """
    seconds = state.seconds if seconds is None else seconds
    if options.max_steps and state.progress.step >= options.max_steps:
        return f"max_steps {options.max_steps}"
    if options.max_epochs and state.sampler.epochs >= options.max_epochs:
        return f"max_epochs {options.max_epochs}"
    if options.max_minutes and seconds >= 60 * options.max_minutes:
        return f"max_minutes {options.max_minutes:g}"
    if state.progress.failures >= options.patience:
        return f"no better BLEU in {options.patience} validations"
    return ""
