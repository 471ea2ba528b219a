"""Train a model: `python -m nmt.train [CONFIG] [--run DIR] [--resume] [--section.key value ...]`.

In the way of the data: the loop that connects corpus, batches, model, loss and optimiser and writes a run folder (see
nmt/training/run_folder.py). Read `train` from top to bottom.
"""

from __future__ import annotations

from nmt.cli.launch import launch

if __name__ == "__main__":  # above the imports that may fail, see nmt/cli/launch.py
    raise SystemExit(launch("nmt.train"))

import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

import torch
from torch import nn

from nmt.cli.train_options import command_to_resume, parse
from nmt.config import Config
from nmt.corpus.batching import Batch, BucketSampler, train_batches
from nmt.corpus.prepare import prepare
from nmt.corpus.prepared import Part, PreparedCorpus
from nmt.device import has_fast_bfloat16, keep_freed_memory, pick_device
from nmt.errors import CheckpointError
from nmt.model.seq2seq import Seq2Seq
from nmt.model.training import for_training
from nmt.search.beam import BeamSearch
from nmt.search.engine import Engine
from nmt.training.bounds import reason_to_stop, used
from nmt.training.distributed import Processes
from nmt.training.loss import batch_loss
from nmt.training.optim import WeightAverage, get_lr, make_optimizer, update
from nmt.training.run_folder import describe_model, load_tokenizer, samples, start_run
from nmt.training.run_log import RunLog
from nmt.training.saving import BackgroundWriter
from nmt.training.state import Progress, TrainState
from nmt.training.validation import Validator
from nmt.translator import Translator


class Stop:
    """Turns Ctrl-C and SIGTERM into a flag that the loop checks between steps; a second Ctrl-C ends at once."""

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
    """Train into the run folder, or continue the run in it; returns how far the run got.

    Raises `NMTError` for a bad corpus, a damaged checkpoint, or one that belongs to another run.
    """
    started = time.monotonic()
    options = config.training
    world = Processes.start(pick_device(options.device))
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    log = RunLog(folder, quiet=world.rank > 0)
    with world.first():  # one process prepares the corpus, the others find it in the cache
        corpus = prepare(config.data, config.data.cache, log.say)
    state = initial_state(config, corpus, world, started)
    if resume:
        restore(state, folder, corpus)
        log.rewind(state.progress.step)
        if state.progress.finished and reason_to_stop(options, state, state.progress.seconds):
            log.say(f"{folder}: this run has finished ({state.progress.finished}); raise its bound to go on")
            return state.progress
        state.progress.finished = ""
    elif world.rank == 0:
        start_run(folder, config, corpus.tokenizer, samples(corpus.valid))
    log.open()
    log.say(describe(config, corpus, state.model, world))
    validator = make_validator(config, corpus, world.device)
    precision = pick_precision(options.precision, world.device)
    batches = endless_batches(config, corpus, state.sampler)
    progress, validated = state.progress, -1
    state.model.train()
    bar_of_run = log.bar(options, progress, partial(used, options, state))
    with Stop() as stop, BackgroundWriter() as writer, bar_of_run as bar:
        while not progress.finished:
            lr = set_learning_rate(config, state)
            batch = next(batches).to(world.device)
            loss, nll = batch_loss(state.model, batch, options.label_smoothing, precision)
            tokens = world.sum(batch.target_tokens)
            (loss / tokens).backward()
            world.sum_gradients(state.model)
            norm = update(state.model, state.optimizer, state.average, options.clip_norm)
            state.optimizer.zero_grad(set_to_none=True)
            writer.check()
            progress.step += 1
            bar.step(progress.step, state.sampler.epoch, tokens, nll, batch.target_tokens, lr, norm)
            if progress.step % options.validate_every == 0:
                validate(config, corpus, state, validator, folder, log, writer)
                validated = progress.step
                save(state, folder, world, writer)
            if world.any(bool(stop.signal)):
                save(state, folder, world, writer)
                writer.wait()
                log.say(f"stopped at step {progress.step}; to go on: {command_to_resume(folder)}")
                raise SystemExit(128 + (stop.signal or signal.SIGTERM))
            progress.finished = reason_to_stop(options, state)
        if validated != progress.step:
            validate(config, corpus, state, validator, folder, log, writer)
        save(state, folder, world, writer)
    log.say(
        f"finished at step {progress.step} ({progress.finished}), {state.seconds / 60:.1f} min: best validation BLEU "
        f"{progress.best_bleu:.2f} at step {progress.best_step} [{progress.signature}] in {folder / 'best.pt'}"
    )
    world.close()
    return progress


def initial_state(config: Config, corpus: PreparedCorpus, world: Processes, started: float) -> TrainState:
    """Make the model from the run's seed, and the optimiser, weight average and batch order that belong to it."""
    options = config.training
    torch.manual_seed(options.seed + world.rank)
    model = Seq2Seq(config.model, corpus.tokenizer.vocabulary).to(world.device)
    world.broadcast(model)
    if world.device.type == "cpu":
        for_training(model, pick_precision(options.precision, world.device))
    return TrainState(
        model,
        make_optimizer(model, options.learning_rate, options.weight_decay, options.betas),
        WeightAverage(model, options.average_decay),
        BucketSampler(
            corpus.train.lengths,
            batch_tokens=options.batch_tokens,
            seed=options.seed,
            rank=world.rank,
            world=world.size,
        ),
        started,
    )


def restore(state: TrainState, folder: Path, corpus: PreparedCorpus) -> None:
    """Continue from the run folder's last checkpoint; raises `CheckpointError` if the training text has changed."""
    if load_tokenizer(folder).to_bytes() != corpus.tokenizer.to_bytes():
        raise CheckpointError(f"{folder}: the training text has changed since this run began; start another run")
    state.restore(folder / "last.pt")


def save(state: TrainState, folder: Path, world: Processes, writer: BackgroundWriter) -> None:
    """Save the run's state in the run folder, in one of the processes."""
    if world.rank == 0:
        writer.save(folder / "last.pt", state.content())


def set_learning_rate(config: Config, state: TrainState) -> float:
    """Give the optimiser the learning rate of the coming update, and return it."""
    options = config.training
    lr = get_lr(
        state.progress.step,
        used(options, state),
        peak=options.learning_rate,
        warmup_steps=options.warmup_steps,
        schedule=options.schedule,
        final=options.final_learning_rate,
    )
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    return lr


def endless_batches(config: Config, corpus: PreparedCorpus, sampler: BucketSampler) -> Iterator[Batch]:
    """Yield the batches of one epoch after another, from the sampler's position on."""
    while True:
        yield from train_batches(
            corpus.train,
            sampler,
            corpus.tokenizer,
            sample_alpha=config.data.sampling,
            augment=config.data.augment,
            seed=config.training.seed,
        )


def make_translator(config: Config, corpus: PreparedCorpus, model: Seq2Seq, device: torch.device) -> Translator:
    """Make the translator of validations: greedy or with a small beam, and with the limits of the exported model."""
    return Translator(
        corpus.tokenizer,
        Engine(BeamSearch(model), device=device),
        max_source_pieces=config.data.max_length,
        target_tags=corpus.valid.target_tags,
        search_defaults={"beam": config.search.valid_beam, "length_penalty": config.search.length_penalty},
    )


def make_validator(config: Config, corpus: PreparedCorpus, device: torch.device) -> Validator:
    """Make the validator of a run, which translates with the translator that everything else uses."""

    def translate(model: Seq2Seq, part: Part) -> list[str]:
        translations = make_translator(config, corpus, model, device).translate(
            corpus.valid.source_lines[part.rows],
            source_language=part.source_language,
            target_language=part.target_language,
        )
        return [translation.text for translation in translations]

    return Validator(corpus.valid, translate, batch_tokens=config.training.batch_tokens, device=device)


def validate(
    config: Config,
    corpus: PreparedCorpus,
    state: TrainState,
    validator: Validator,
    folder: Path,
    log: RunLog,
    writer: BackgroundWriter,
) -> None:
    """Score the averaged weights, and save them if they are the best so far."""
    with state.averaged_weights() as model:
        scores = validator.validate(model)
        best = state.progress.count_validation(scores)
        if best and not log.quiet:  # in one of the processes
            info = describe_model(config, corpus, state, scores, validator.device)
            writer.save(folder / "best.pt", {"model": model.state_dict(), "info": info})
    log.validation(state.progress.step, scores, best)


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the type of the matrix products in training; auto: bfloat16 where the hardware computes it."""
    if name == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def describe(config: Config, corpus: PreparedCorpus, model: nn.Module, world: Processes) -> str:
    """Describe a run in one line: data, model, precision and hardware."""
    parameters = sum(p.numel() for p in model.parameters())
    precision = str(pick_precision(config.training.precision, world.device)).removeprefix("torch.")
    return (
        f"{' '.join(map(str, corpus.train.parts))}: {len(corpus.train):,} training pairs, "
        f"{len(corpus.valid):,} validation pairs, {corpus.tokenizer.vocabulary:,} pieces, "
        f"{parameters / 1e6:.1f} M parameters, {precision} on {world.size} x {world.device} "
        f"({torch.get_num_threads()} threads), config {config.digest()}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    config, folder, resume = parse(argv)
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    train(config, folder, resume)
    return 0
