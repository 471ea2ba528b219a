"""Speed on a CUDA device: `python -m tests.benchmarks.bench_gpu` prints one JSON line a case, in under 8 minutes.

Decoding compares, by turns in one process, the graphed batch, the same without its graphs, and the plain running batch;
training compares steps that wait for the device with steps that do not. Ratios are of medians. Weights are random, and
the length of an output is random but close to that of its source, as with real translations.

Sizes: the default model with 8,000 pieces, and that of GNMT v2 (4 + 4 layers of 1,024, residual, 32,000 pieces).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nmt.config import ModelConfig
from nmt.corpus.batching import Batch
from nmt.export import convert
from nmt.model.seq2seq import Seq2Seq
from nmt.search.beam import BeamSearch
from nmt.search.engine import Engine, Request, SearchOptions
from nmt.search.graphed import GraphedBatches, GraphOptions
from nmt.search.interface import Memory
from nmt.text.special_ids import EOS
from nmt.training.loss import batch_loss
from nmt.training.optim import WeightAverage, make_optimizer, update

CUDA = torch.device("cuda")
GNMT = {
    "embedding": 1024,
    "encoder": {"layers": 4, "hidden": 512, "connections": "residual"},
    "decoder": {"layers": 4, "hidden": 1024, "attention_size": 1024, "connections": "residual"},
}
SIZES: dict[str, tuple[dict[str, Any], int]] = {"default": ({}, 8000), "gnmt": (GNMT, 32000)}
LIMIT_S = 420.0
"""no case begins after so many seconds"""


class TimedModel(nn.Module):
    """A random `Seq2Seq` with outputs of 0.7 to 1.3 times the source length, determined by the first source piece.

    The number of pieces left is part of the decoder state, so the model itself keeps nothing between steps.
    """

    def __init__(self, size: str) -> None:
        super().__init__()
        section, vocabulary = SIZES[size]
        torch.manual_seed(1)
        self.model = convert(Seq2Seq(ModelConfig.model_validate(section), vocabulary).eval(), "bfloat16")

    def encode(self, src: Tensor, lengths: Tensor) -> tuple[Memory, list[Tensor]]:
        memory, state = self.model.encode(src, lengths)
        jitter = 0.7 + 0.6 * (src[:, 0] % 100).float() / 100
        return memory, [*state, (lengths * jitter).ceil().unsqueeze(1)]

    def step(self, tokens: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        logits, next_state, attention = self.model.step(tokens, state[:-1], memory)
        left = state[-1] - 1
        logits[:, EOS : EOS + 1] += torch.where(left > 0, -50.0, 50.0).to(logits.dtype)
        return logits, [*next_state, left], attention


def show(case: str, **values: Any) -> None:
    """Print a line."""
    rounded = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in values.items()}
    print(json.dumps({"case": case, **rounded}), flush=True)


def seconds(work: Callable[[], object]) -> float:
    """Run `work` and return its time, until the device has finished."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def by_turns(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median time of each of several works, run in alternation after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            took = seconds(work)
            times[name] += [took] if number else []
    return {name: statistics.median(values) for name, values in times.items()}


def peak_flops(dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product."""
    size = 8192
    a, b = (torch.randn(size, size, dtype=dtype, device=CUDA) for _ in range(2))
    return 2 * size**3 / by_turns({"product": lambda: a @ b}, 10)["product"]


def sentences(count: int, vocabulary: int, beam: int) -> list[Request]:
    """Return requests with source lengths as in news text: 3 to 100 pieces, with a median of about 25."""
    draw = random.Random(1)
    sizes = [min(100, max(3, round(draw.lognormvariate(3.2, 0.5)))) for _ in range(count)]
    options = SearchOptions(beam=beam)
    return [Request(i, (*draw.choices(range(4, vocabulary), k=n), EOS), options) for i, n in enumerate(sizes)]


def decode(size: str, beam: int, slots: int, count: int, steps: int) -> None:
    """Time the decoding of `count` sentences."""
    search: Any = BeamSearch(TimedModel(size)).eval().to(CUDA)
    requests, rows = sentences(count, SIZES[size][1], beam), slots * beam
    graphs: dict[str, GraphedBatches | bool] = {
        "graphs": GraphedBatches(rows, GraphOptions(steps=steps)),
        "no_graphs": GraphedBatches(rows, GraphOptions(steps=steps, graphs=False)),
        "plain": False,
    }
    engines = {
        name: Engine(search, rows=rows, encode_tokens=16384, device=CUDA, graphs=value)
        for name, value in graphs.items()
    }
    works = {name: partial(engine.run, requests) for name, engine in engines.items()}
    times = by_turns(works, rounds=3)
    show(
        f"decode {size}",
        beam=beam,
        slots=slots,
        steps=steps,
        sentences_per_second={name: round(count / took) for name, took in times.items()},
        graphs_to_plain=times["plain"] / times["graphs"],
        graphs_to_no_graphs=times["no_graphs"] / times["graphs"],
        gigabytes=torch.cuda.max_memory_allocated() / 1e9,
    )


def one_by_one(size: str, beam: int) -> None:
    """Time single sentences, one after another: the latency of an idle service."""
    search: Any = BeamSearch(TimedModel(size)).eval().to(CUDA)
    requests = [request for request in sentences(60, SIZES[size][1], beam) if len(request.src) <= 32]
    times: dict[str, list[float]] = {}
    graphs: dict[str, GraphedBatches | bool] = {"graphs": GraphedBatches(4 * beam), "plain": False}
    engines = {name: Engine(search, device=CUDA, graphs=value) for name, value in graphs.items()}
    for request in requests:
        for name, engine in engines.items():
            times.setdefault(name, []).append(seconds(partial(engine.run, [request])))
    median = {name: statistics.median(values[10:]) for name, values in times.items()}
    show(
        f"one sentence {size}",
        beam=beam,
        milliseconds={name: round(1000 * took, 2) for name, took in median.items()},
        graphs_to_plain=median["plain"] / median["graphs"],
    )


def train_flops(config: ModelConfig, vocabulary: int, sentences: int, length: int) -> float:
    """Operations of the matrix products of one training step; the backward pass has twice those of the forward."""
    e, h, d, a = config.embedding, config.decoder.hidden, 2 * config.encoder.hidden, config.decoder.attention_size
    upper = 4 * d * (d + config.encoder.hidden)  # both directions
    encoder = 4 * d * (e + config.encoder.hidden) + (config.encoder.layers - 1) * upper
    decoder = 4 * h * (e + h) + (config.decoder.layers - 1) * 4 * h * (h + d + h)
    attention = a * (d + h) + length * (a + d)
    return 2 * 3 * sentences * length * (encoder + decoder + attention + e * (h + d + e) + e * vocabulary)


def train(size: str, tokens: int, length: int, peak: float, count: int = 20) -> None:
    """Time training steps in bfloat16 on batches of about `tokens` target pieces."""
    section, vocabulary = SIZES[size]
    torch.manual_seed(1)
    config = ModelConfig.model_validate(section)
    model = Seq2Seq(config, vocabulary).to(CUDA).train()
    optimizer, average = make_optimizer(model, 1e-3, 0.01, (0.9, 0.98)), WeightAverage(model, 0.998)
    rows = tokens // length
    ids = torch.randint(4, vocabulary, (2, rows, length - 1)).tolist()
    batch = Batch.from_ids(ids[0], ids[1])

    def step(wait: bool) -> None:
        there = batch.to(CUDA)
        loss, _ = batch_loss(model, there, 0.1, torch.bfloat16)
        (loss / there.target_tokens).backward()
        norm = update(model, optimizer, average, 1.0)
        if wait:
            float(norm)
        optimizer.zero_grad(set_to_none=True)

    def steps(wait: bool) -> None:
        for _ in range(count):
            step(wait)

    times = by_turns({"no_wait": lambda: steps(False), "wait": lambda: steps(True)}, rounds=5)
    took = times["no_wait"] / count
    began = time.perf_counter()
    steps(False)
    launched = time.perf_counter() - began
    torch.cuda.synchronize()
    show(
        f"train {size}",
        sentences=rows,
        length=length,
        tokens_per_second=round(rows * length / took),
        no_wait_to_wait=times["wait"] / times["no_wait"],
        ratio_to_peak=train_flops(config, vocabulary, rows, length) / peak / took,
        host_share=launched / times["no_wait"],
        gigabytes=torch.cuda.max_memory_allocated() / 1e9,
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    began = time.perf_counter()
    peak = peak_flops(torch.bfloat16)
    show("device", name=torch.cuda.get_device_name(), torch=torch.__version__, bfloat16_tflops=peak / 1e12)
    cases: list[Callable[[], None]] = [
        lambda: train("default", 25000, 25, peak),
        lambda: train("gnmt", 25000, 30, peak),
        lambda: decode("gnmt", 5, 256, 2000, 2),
        lambda: decode("default", 5, 256, 4000, 2),
        lambda: decode("default", 1, 512, 4000, 4),
        lambda: one_by_one("default", 5),
        lambda: decode("gnmt", 5, 512, 2000, 2),
        lambda: decode("gnmt", 1, 512, 2000, 4),
        lambda: decode("gnmt", 5, 256, 2000, 1),
        lambda: decode("gnmt", 5, 256, 2000, 4),
        lambda: train("default", 6000, 25, peak),
        lambda: train("gnmt", 6000, 30, peak),
        lambda: one_by_one("gnmt", 5),
    ]
    for case in cases:
        if time.perf_counter() - began > LIMIT_S:
            show("stopped: no time left")
            break
        torch.cuda.reset_peak_memory_stats()
        try:
            case()
        except torch.OutOfMemoryError as error:
            show("out of memory", error=str(error).splitlines()[0])
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
