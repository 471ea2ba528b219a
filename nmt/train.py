"""Train a model: `python -m nmt.train [CONFIG] [--run DIR] [--resume] [--section.key value ...]`.

In the way of the data: this is the loop that ties corpus, batches, model, loss and optimiser together and leaves a run
folder (see checkpoint.py). Read `train` from top to bottom.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import torch
from torch import nn

from nmt.cli.parser import main_guard
from nmt.cli.train_options import command_to_resume, parse
from nmt.config import Config
from nmt.corpus.batching import Batch, BucketSampler, train_batches
from nmt.corpus.prepare import prepare
from nmt.corpus.prepared import PreparedCorpus
from nmt.device import has_fast_bfloat16, keep_freed_memory, pick_device
from nmt.errors import CheckpointError
from nmt.model.seq2seq import Seq2Seq
from nmt.search.engine import SearchOptions
from nmt.training.bounds import reason_to_stop, used, within_bounds
from nmt.training.checkpoint import (
    Progress,
    describe_model,
    load_tokenizer,
    restore,
    samples,
    save_checkpoint,
    snapshot,
    start_run,
)
from nmt.training.distributed import Processes
from nmt.training.loss import batch_loss
from nmt.training.optim import WeightAverage, get_lr, make_optimizer
from nmt.training.run_log import Journal
from nmt.training.validation import Validator


class Stop:
    """Turns Ctrl-C and SIGTERM into a flag that the loop looks at between steps; a second Ctrl-C ends at once."""

    def __init__(self) -> None:
        self.signal: int = 0

    def __enter__(self) -> Stop:
        self.previous = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number


def train(config: Config, folder: Path, resume: bool = False) -> Progress:
    """Train into the run folder; returns where the run ended.

    Raises `NMTError` for a bad corpus, a folder that holds another run, or a damaged checkpoint.
    """
    options = config.training
    started = time.monotonic()
    device = pick_device(options.device)
    world = Processes.start(device)
    device = world.device
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    journal = Journal(folder, quiet=world.rank > 0)
    with world.first():  # one process prepares, the others find it
        corpus = prepare(config.data, config.data.cache, journal.say)
    tokenizer = corpus.tokenizer
    if resume and load_tokenizer(folder).to_bytes() != tokenizer.to_bytes():
        raise CheckpointError(f"{folder}: the training text has changed since this run began; start another run")

    torch.manual_seed(options.seed + world.rank)
    model = Seq2Seq(config.model, tokenizer.vocabulary).to(device)
    world.broadcast(model)
    optimizer = make_optimizer(model, options.learning_rate, options.weight_decay, options.betas)
    average = WeightAverage(model, options.average_decay)
    sampler = BucketSampler(
        corpus.train.lengths, batch_tokens=options.batch_tokens, seed=options.seed, rank=world.rank, world=world.size
    )
    progress = Progress()
    if resume:
        progress = restore(folder / "last.pt", model, optimizer, average, sampler)
        journal.rewind(progress.step)
        if progress.finished and not within_bounds(options, progress, sampler):
            journal.say(f"{folder}: this run has finished ({progress.finished}); raise its bound to go on")
            return progress
        progress.finished = ""
    elif world.rank == 0:
        start_run(folder, config, tokenizer, samples(corpus.valid))
    journal.open()
    journal.say(describe(config, corpus, model, device, world.size))
    precision = pick_precision(options.precision, device)
    search = SearchOptions(beam=config.search.valid_beam, length_penalty=config.search.length_penalty)
    validator = Validator(corpus.valid, tokenizer, search, options.batch_tokens, device)

    def save() -> None:
        progress.seconds = clock()
        if world.rank == 0:
            save_checkpoint(folder / "last.pt", snapshot(progress, model, optimizer, average, sampler))

    def validate() -> None:
        if options.average_decay:
            average.swap(model)
        scores = validator.validate(model)
        better = scores["bleu"] > progress.best_bleu
        progress.failures = 0 if better else progress.failures + 1
        if better:
            progress.best_bleu, progress.best_step = scores["bleu"], progress.step
            progress.signature = validator.signature
            if world.rank == 0:
                info = describe_model(config, corpus, progress, scores, sampler.epoch, clock(), device)
                save_checkpoint(folder / "best.pt", {"model": model.state_dict(), "info": info})
        if options.average_decay:
            average.swap(model)
        journal.validation(progress.step, scores, progress.best_bleu)

    offset = progress.seconds

    def clock() -> float:
        return time.monotonic() - started + offset

    def stream() -> Iterator[Batch]:
        while True:
            yield from train_batches(
                corpus.train, sampler, tokenizer, sample_alpha=config.data.sampling, seed=options.seed
            )

    batches = stream()
    validated = progress.step
    model.train()
    with Stop() as stop, journal.bar(options, progress, lambda: used(options, progress.step, sampler, clock())) as bar:
        while not progress.finished:
            share = used(options, progress.step, sampler, clock())
            lr = get_lr(
                progress.step,
                share,
                peak=options.learning_rate,
                warmup_steps=options.warmup_steps,
                schedule=options.schedule,
                final=options.final_learning_rate,
            )
            for group in optimizer.param_groups:
                group["lr"] = lr
            batch = next(batches).to(device)
            loss, nll = batch_loss(model, batch, options.label_smoothing, precision)
            tokens = world.sum(batch.target_tokens)
            (loss / tokens).backward()
            world.sum_gradients(model)
            norm = nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
            if torch.isfinite(norm):  # a step with an overflow is left out, not learnt
                optimizer.step()
                average.update(model)
            optimizer.zero_grad(set_to_none=True)
            progress.step += 1
            bar.step(progress.step, sampler.epoch, tokens, nll, batch.target_tokens, lr, norm)
            if progress.step % options.validate_every == 0:
                validate()
                validated = progress.step
                save()
            if world.any(bool(stop.signal)):
                save()
                journal.say(f"stopped at step {progress.step}; to go on: {command_to_resume(folder)}")
                raise SystemExit(128 + (stop.signal or signal.SIGTERM))
            progress.finished = reason_to_stop(options, progress, sampler, clock())
        if validated != progress.step or progress.best_step == 0:
            validate()
        save()
    journal.say(
        f"finished at step {progress.step} ({progress.finished}), {clock() / 60:.1f} min: best validation BLEU "
        f"{progress.best_bleu:.2f} at step {progress.best_step} [{progress.signature}] in {folder / 'best.pt'}"
    )
    world.close()
    return progress


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """The type of the matrix products while training."""
    if name == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def describe(config: Config, corpus: PreparedCorpus, model: nn.Module, device: torch.device, processes: int) -> str:
    """What is about to be trained, in a line."""
    parameters = sum(p.numel() for p in model.parameters())
    precision = str(pick_precision(config.training.precision, device)).removeprefix("torch.")
    return (
        f"{' '.join(map(str, corpus.train.parts))}: {len(corpus.train):,} training pairs, "
        f"{len(corpus.valid):,} validation pairs, {corpus.tokenizer.vocabulary:,} pieces, "
        f"{parameters / 1e6:.1f} M parameters, {precision} on {processes} x {device} "
        f"({torch.get_num_threads()} threads), config {config.digest()}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    config, folder, resume = parse(argv)
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    train(config, folder, resume)
    return 0


if __name__ == "__main__":
    sys.exit(main_guard(main))
