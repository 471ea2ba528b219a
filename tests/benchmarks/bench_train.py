"""Speed and memory of training: target pieces/s of `nmt.train` with the config multi30k-en-de, as its log reports them.

`ratio` is the share of the product peak: the work of the pairs (`work.py`) over the time that they took, over the peak
of the same number type and threads.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from nmt.config import Config
from nmt.corpus.prepare import prepare
from nmt.train import pick_precision, train
from tests.benchmarks import material
from tests.benchmarks.measure import BusyNeighbour, emit, memory, peak
from tests.benchmarks.work import Work


def speed(config: Config, folder: Path) -> float:
    """Train for the steps of `config` and return the target pieces/s, the median of the log lines after the first."""
    train(config, folder)
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return statistics.median([float(r["tokens_per_second"]) for r in records if r["kind"] == "train"][1:])


def work_per_token(config: Config) -> float:
    """Operations for each target piece, EOS included, the mean over the training text."""
    corpus = prepare(config.data, config.data.cache)
    source, target = ((side + 1).tolist() for side in corpus.train.lengths)
    work = Work.of(config.model, corpus.tokenizer.vocabulary).training(zip(source, target, strict=True))
    return work / float(sum(target))


def main(argv: Sequence[str]) -> None:
    """The benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks train", description=__doc__)
    parser.add_argument("--corpora", type=Path, help="folder with multi30k (default: random words)")
    parser.add_argument("--pairs", type=int, default=29000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--busy", action="store_true", help="only: beside a busy process on one core, by turns")
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"), help="of the config")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        overrides = {
            "training.max_steps": str(options.steps),
            "training.max_epochs": "null",
            "training.log_every": str(max(1, options.steps // 6)),
            "training.validate_every": str(options.steps + 1),
            "training.threads": str(options.threads),
            "training.precision": options.precision,
        }
        pairs = [*overrides.items(), *map(tuple, options.set)]
        config = material.corpus_config(folder, options.corpora, options.pairs, pairs)
        dtype = str(pick_precision(options.precision, torch.device("cpu"))).removeprefix("torch.")
        setting = {"dtype": dtype, "threads": options.threads}
        if options.busy:
            free = speed(config, folder / "free")
            with BusyNeighbour():
                shared = speed(config, folder / "shared")
            free = (free + speed(config, folder / "again")) / 2
            emit("train beside a busy process", setting, shared, "tokens/s", shared / free, "free machine")
            return
        before = memory()
        tokens = speed(config, folder / "run")
        high = memory()
        best, product = peak(dtype, options.threads)
        work = work_per_token(config)
        more = {"gflop_per_token": work / 1e9, "peak_gflops": best, "product": product}
        emit("train", setting, tokens, "tokens/s", tokens * work / 1e9 / best, "product peak", **more)
        emit("memory, training", setting, high, "MiB", high / before, "before training")
