"""How fast a training step is, against the machine's own peak: `python tests/benchmarks/bench_train.py`.

Prints one JSON line a case. `ratio` is the arithmetic of a step's matrix products, done at the speed at which this
machine multiplies large square matrices in the same precision in the same run, over the time that the step took: 1.0
would be a step that is nothing but matrix products at peak.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch
from torch import nn

from nmt.batching import Batch
from nmt.config import ModelConfig
from nmt.device import has_fast_bfloat16, keep_freed_memory
from nmt.loss import batch_loss
from nmt.model import Seq2Seq
from nmt.optim import WeightAverage, make_optimizer


def seconds(work: Callable[[], object], rounds: int) -> float:
    """The median time of `work`, after two rounds that do not count."""
    for _ in range(2):
        work()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


def peak_flops(precision: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product."""
    size = 2048
    a, b = torch.randn(size, size, dtype=precision), torch.randn(size, size, dtype=precision)
    return 2 * size**3 / seconds(lambda: a @ b, 10)


def step_flops(config: ModelConfig, vocabulary: int, sentences: int, length: int) -> float:
    """Operations of the matrix products of one training step; the backward pass has twice those of the forward."""
    e, h, d = config.embedding, config.decoder.hidden, 2 * config.encoder.hidden
    encoder = 2 * 4 * config.encoder.hidden * (e + config.encoder.hidden)
    encoder += (config.encoder.layers - 1) * 2 * 4 * config.encoder.hidden * (d + config.encoder.hidden)
    attention = config.decoder.attention_size * (d + h + 2 * length)
    decoder = 4 * h * (e + h) + (config.decoder.layers - 1) * 4 * h * (h + d + h)
    output = e * (h + d + e) + e * vocabulary
    return 2 * 3 * sentences * length * (encoder + attention + decoder + output)


def case(
    config: ModelConfig, vocabulary: int, sentences: int, length: int, precision: torch.dtype, rounds: int
) -> None:
    """Time one training step, optimiser included, and print it."""
    torch.manual_seed(0)
    model = Seq2Seq(config, vocabulary)
    optimizer = make_optimizer(model, 1e-3, 0.01, (0.9, 0.98))
    average = WeightAverage(model, 0.998)
    ids = torch.randint(4, vocabulary, (2, sentences, length - 1)).tolist()
    batch = Batch.from_ids(ids[0], ids[1])

    def step() -> None:
        loss, _ = batch_loss(model, batch, 0.1, precision)
        (loss / batch.target_tokens).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model)
        optimizer.zero_grad(set_to_none=True)

    peak = peak_flops(precision)
    took = seconds(step, rounds)
    result = {
        "case": "train-step",
        "precision": str(precision).removeprefix("torch."),
        "sentences": sentences,
        "length": length,
        "threads": torch.get_num_threads(),
        "tokens_per_second": round(batch.target_tokens / took),
        "peak_gflops": round(peak / 1e9),
        "ratio": round(step_flops(config, vocabulary, sentences, length) / peak / took, 3),
    }
    print(json.dumps(result), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="counted steps a case")
    options = parser.parse_args()
    keep_freed_memory()
    precisions = [torch.float32] + [torch.bfloat16] * has_fast_bfloat16(torch.device("cpu"))
    for precision in precisions:
        for sentences, length in ((100, 15), (50, 15), (50, 30)):
            case(ModelConfig(), 8000, sentences, length, precision, options.rounds)


if __name__ == "__main__":
    main()
