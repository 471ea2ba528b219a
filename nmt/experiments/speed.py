"""Training speed of the members, measured in turns: a machine's speed drifts, ratios of adjacent timings do not.

In the way of the data: configs and batches -> **speed** -> table.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from nmt.config import Config
from nmt.corpus.batching import Batch
from nmt.device import pick_device
from nmt.model.seq2seq import Seq2Seq
from nmt.train import pick_precision
from nmt.training.loss import batch_loss
from nmt.training.optim import WeightAverage, make_optimizer

WARM_UP = 2
"""rounds that are not counted"""


@dataclass(frozen=True)
class Speed:
    """The training speed of a member."""

    tokens_per_second: float
    """target pieces per second, median over the rounds"""
    ratio: float
    """its speed over the baseline's on the same batch, median over the rounds (not the ratio of the medians)"""


def measure(
    configs: dict[str, Config], baseline: str, batches: Sequence[Batch], vocabulary: int, threads: int
) -> dict[str, Speed]:
    """Time the second training step of each member on each batch, in turns; the first `WARM_UP` batches do not count.

    `baseline` is one of `configs`. The device is synchronised before a clock is read.
    """
    torch.set_num_threads(threads)
    steps = {name: training_step(config, vocabulary) for name, config in configs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in configs}
    order = deque(steps.items())
    for batch in batches:
        order.rotate(5)  # so that no member is always the first, or always follows the same one
        for name, step in order:
            step(batch)  # not timed: kernels are prepared for new shapes, and members of one size would share them
            seconds[name].append(step(batch))
    tokens = [batch.target_tokens for batch in batches[WARM_UP:]]
    counted = {name: times[WARM_UP:] for name, times in seconds.items()}
    return {
        name: Speed(
            statistics.median(n / t for n, t in zip(tokens, times, strict=True)),
            statistics.median(b / t for b, t in zip(counted[baseline], times, strict=True)),
        )
        for name, times in counted.items()
    }


def training_step(config: Config, vocabulary: int) -> Callable[[Batch], float]:
    """Return a function that makes a training step, as in `nmt.train`, and returns the seconds it took."""
    options = config.training
    device = pick_device(options.device)
    torch.manual_seed(options.seed)
    model = Seq2Seq(config.model, vocabulary).to(device).train()
    optimizer = make_optimizer(model, options.learning_rate, options.weight_decay, options.betas)
    average = WeightAverage(model, options.average_decay)
    precision = pick_precision(options.precision, device)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def step(batch: Batch) -> float:
        wait()
        began = time.perf_counter()
        there = batch.to(device)
        loss, _ = batch_loss(model, there, options.label_smoothing, precision)
        (loss / there.target_tokens).backward()
        nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
        optimizer.step()
        average.update(model)
        optimizer.zero_grad(set_to_none=True)
        wait()
        return time.perf_counter() - began

    return step
