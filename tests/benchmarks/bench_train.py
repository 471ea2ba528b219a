"""How fast a training step is, against the machine's own peak: `python tests/benchmarks/bench_train.py`.

Prints one JSON line a case. `ratio` is the arithmetic of a step's matrix products, done at the speed at which this
machine multiplies large square matrices in the same precision in the same run, over the time that the step took: 1.0
would be a step that is nothing but matrix products at peak.

With `--baseline DIR`, another checkout of this project (say `git worktree add /tmp/before HEAD~5`), the two take turns,
and each case says besides how many times as fast this one is: whether a change has cost the default model anything.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from nmt.config import ModelConfig
from nmt.corpus.batching import Batch
from nmt.device import has_fast_bfloat16, keep_freed_memory
from nmt.model.seq2seq import Seq2Seq
from nmt.training.loss import batch_loss
from nmt.training.optim import WeightAverage, make_optimizer


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


def against(baseline: Path, rounds: int, turns: int = 5) -> None:
    """Run this file by turns on this checkout and on `baseline`, and print the median of each case's ratios."""
    here = Path(__file__).resolve().parents[2]
    ratios: dict[str, list[float]] = {}
    for turn in range(turns):
        speeds = []
        for checkout in (here, baseline.resolve())[:: 1 if turn % 2 else -1]:
            command = [sys.executable, __file__, "--rounds", str(rounds)]
            environment = {**os.environ, "PYTHONPATH": str(checkout)}
            lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
            speeds.append([json.loads(line) for line in lines.splitlines()])
        after, before = speeds[:: 1 if turn % 2 else -1]
        for one, other in zip(after, before, strict=True):
            name = f"{one['precision']} {one['sentences']} x {one['length']}"
            ratios.setdefault(name, []).append(one["tokens_per_second"] / other["tokens_per_second"])
    for name, values in ratios.items():
        speedup = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
        print(json.dumps({"case": f"train-step {name}", "turns": turns, "ratio_to_baseline": speedup}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="counted steps a case")
    parser.add_argument("--baseline", type=Path, metavar="DIR", help="another checkout to compare with")
    options = parser.parse_args()
    if options.baseline:
        return against(options.baseline, options.rounds)
    keep_freed_memory()
    precisions = [torch.float32] + [torch.bfloat16] * has_fast_bfloat16(torch.device("cpu"))
    for precision in precisions:
        for sentences, length in ((100, 15), (50, 15), (50, 30)):
            case(ModelConfig(), 8000, sentences, length, precision, options.rounds)


if __name__ == "__main__":
    main()
