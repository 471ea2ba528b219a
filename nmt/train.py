"""Train a model: `python -m nmt.train [CONFIG] [--run DIR] [--resume] [--section.key value ...]`.

In the way of the data: this is the loop that ties corpus, batches, model, loss and optimiser together and leaves a run
folder (see checkpoint.py). Read `train` from top to bottom.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import sacrebleu
import torch
from torch import Tensor, nn

from nmt.batching import Batch, BucketSampler, epoch_split, ordered_batches, train_batches
from nmt.checkpoint import load_checkpoint, load_tokenizer, save_checkpoint, start_run
from nmt.cli import HelpFormatter, main_guard
from nmt.config import CONFIGS, Config, known_options, load_config, nearest
from nmt.corpus import CorpusSettings, prepare
from nmt.device import has_fast_bfloat16, keep_freed_memory, pick_device
from nmt.distributed import Processes
from nmt.engine import Engine, SearchOptions
from nmt.errors import CheckpointError, ConfigError
from nmt.journal import Journal
from nmt.loss import smoothed_cross_entropy
from nmt.model import Seq2Seq
from nmt.optim import WeightAverage, get_lr, make_optimizer
from nmt.prepared import PreparedCorpus, Split
from nmt.search import BeamSearch
from nmt.special import PAD
from nmt.tokenizer import Tokenizer
from nmt.translator import Translator


@dataclass
class Progress:
    """Where a run is; saved with each checkpoint."""

    step: int = 0
    seconds: float = 0.0
    best_bleu: float = -1.0
    best_step: int = 0
    failures: int = 0
    """validations since the best"""
    signature: str = ""
    finished: str = ""
    """why the run ended, or nothing"""


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
        corpus = prepare(corpus_settings(config), config.data.cache, journal.say)
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
        # The sampler must plan the epoch as the interrupted run did before anyone asks how far it is.
        epoch_split(corpus.train, sampler, tokenizer, sample_alpha=config.data.sampling, seed=options.seed)
        journal.rewind(progress.step)
        if progress.finished and not within_bounds(options, progress, sampler):
            journal.say(f"{folder}: this run has finished ({progress.finished}); raise its bound to go on")
            return progress
        progress.finished = ""
    elif world.rank == 0:
        start_run(
            folder, config, tokenizer, list(zip(corpus.valid.source_lines, corpus.valid.target_lines, strict=True))[:32]
        )
    journal.open()
    journal.say(describe(config, corpus, model, device, world.size))
    precision = pick_precision(options.precision, device)
    validator = Validator(config, corpus.valid, tokenizer, device)

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
                info = describe_model(config, progress, sampler.epoch, clock(), device)
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


def batch_loss(model: Seq2Seq, batch: Batch, smoothing: float, precision: torch.dtype) -> tuple[Tensor, Tensor]:
    """The smoothed loss and the negative log-likelihood of a batch, each summed over target pieces, in nats."""
    with torch.autocast(batch.src.device.type, precision, enabled=precision != torch.float32):
        readout = model(batch.src, batch.src_lengths, batch.tgt_in)
        real = batch.tgt_out != PAD
        return smoothed_cross_entropy(
            readout[real], model.output.weight, model.output.bias, batch.tgt_out[real], smoothing
        )


class Validator:
    """Scores the model on the validation text: perplexity with teacher forcing, BLEU through the one search."""

    def __init__(self, config: Config, split: Split, tokenizer: Tokenizer, device: torch.device) -> None:
        self.split = split
        self.tokenizer = tokenizer
        self.device = device
        self.batch_tokens = config.training.batch_tokens
        self.options = SearchOptions(beam=config.search.valid_beam, length_penalty=config.search.length_penalty)
        self.metric = sacrebleu.BLEU()
        self.signature = ""

    @torch.no_grad()
    def validate(self, model: Seq2Seq) -> dict[str, float]:
        """loss (nats a piece), perplexity, bleu and sentences a second."""
        model.eval()
        nll, tokens = 0.0, 0
        for batch in ordered_batches(self.split, batch_tokens=self.batch_tokens):
            _, batch_nll = batch_loss(model, batch.to(self.device), 0.0, torch.float32)
            nll += float(batch_nll)
            tokens += batch.target_tokens
        began = time.monotonic()
        translator = Translator(self.tokenizer, Engine(BeamSearch(model), device=self.device))
        hypotheses = [t.text for t in translator.translate(self.split.source_lines, self.options)]
        seconds = time.monotonic() - began
        bleu = self.metric.corpus_score(hypotheses, [self.split.reference_lines])
        self.signature = str(self.metric.get_signature())
        model.train()
        loss = nll / max(tokens, 1)
        return {
            "loss": loss,
            "perplexity": float(torch.tensor(loss).exp()),
            "bleu": bleu.score,
            "sentences_per_second": len(hypotheses) / max(seconds, 1e-9),
        }


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


def snapshot(
    progress: Progress,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage,
    sampler: BucketSampler,
) -> dict[str, Any]:
    """Everything that decides how the run goes on."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "progress": vars(progress),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.state_dict(),
        "sampler": sampler.state_dict(),
        "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
    }


def restore(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage, sampler: BucketSampler
) -> Progress:
    """Take over what `snapshot` kept."""
    content = load_checkpoint(path)
    try:
        model.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
        average.load_state_dict(content["average"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: belongs to another model: {str(error).splitlines()[0]}") from None
    sampler.load_state_dict(content["sampler"])
    torch.set_rng_state(content["random"]["cpu"])
    if content["random"]["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(content["random"]["cuda"])
    return Progress(**content["progress"])


def corpus_settings(config: Config) -> CorpusSettings:
    """The plain values that the corpus is prepared with, file names resolved below `data.root`."""
    data = config.data

    def below(paths: Path | Sequence[Path] | None) -> tuple[Path, ...]:
        if paths is None:
            return ()
        return tuple(data.root / p for p in ([paths] if isinstance(paths, Path) else paths))

    return CorpusSettings(
        source_language=data.source_language,
        target_language=data.target_language,
        train_src=below(data.train_src),
        train_tgt=below(data.train_tgt),
        train_tsv=below(data.train_tsv),
        valid_src=below(data.valid_src),
        valid_tgt=below(data.valid_tgt),
        test_src=below(data.test_src),
        test_tgt=below(data.test_tgt),
        valid_size=data.valid_size,
        test_size=data.test_size,
        split_seed=data.split_seed,
        vocabulary=data.vocabulary,
        kind=data.units,
        character_coverage=data.character_coverage,
        max_length=data.max_length,
        max_ratio=data.max_ratio,
        deduplicate=data.deduplicate,
        drop_test_overlap=data.drop_test_overlap,
    )


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
        f"{config.data.source_language}-{config.data.target_language}: {len(corpus.train):,} training pairs, "
        f"{len(corpus.valid):,} validation pairs, {corpus.tokenizer.vocabulary:,} pieces, {parameters / 1e6:.1f} M parameters, "
        f"{precision} on {processes} x {device} ({torch.get_num_threads()} threads), config {config.digest()}"
    )


def describe_model(
    config: Config, progress: Progress, epoch: int, seconds: float, device: torch.device
) -> dict[str, Any]:
    """How a saved model came about; goes into the checkpoint and from there into the exported file."""
    return {
        "source_language": config.data.source_language,
        "target_language": config.data.target_language,
        "max_source_pieces": config.data.max_length,
        "beam": config.search.beam,
        "length_penalty": config.search.length_penalty,
        "config_digest": config.digest(),
        "seed": config.training.seed,
        "steps": progress.step,
        "epochs": epoch,
        "minutes": round(seconds / 60, 2),
        "valid_bleu": round(progress.best_bleu, 2),
        "valid_signature": progress.signature,
        "hardware": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU",
        "threads": torch.get_num_threads(),
        "date": datetime.date.today().isoformat(),
        "torch": str(torch.__version__),
    }


def command_to_resume(folder: Path) -> str:
    """The command line that goes on with a run."""
    return f"python -m nmt.train --run {folder} --resume"


def parse(argv: Sequence[str] | None) -> tuple[Config, Path, bool]:
    """Read the command line: the config, the run folder, and whether to go on with it."""
    options = "\n".join(
        f"  --{key} {field.get_default(call_default_factory=True)!s:.40}\n        {field.description}"
        for key, field in known_options()
    )
    parser = argparse.ArgumentParser(
        prog="python -m nmt.train",
        description=__doc__.splitlines()[0] if __doc__ else "",
        epilog=f"any key of the config can be set on the command line; with their defaults:\n{options}",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("config", nargs="?", help="a YAML file, or the name of one of nmt/configs; default starter")
    parser.add_argument("--run", type=Path, help="the run folder; default runs/<name of the config>")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the run folder")
    known, rest = parser.parse_known_args(argv)
    overrides = list(pairs(rest))
    path = Path(known.config or "starter")
    if not path.exists() and (CONFIGS / f"{path.name}.yaml").exists() and path.suffix == "":
        path = CONFIGS / f"{path.name}.yaml"
    folder: Path = known.run or Path("runs") / path.stem
    if known.resume:
        if not (folder / "last.pt").exists():
            raise CheckpointError(f"{folder}: nothing to resume (no last.pt); leave --resume out to begin a run there")
        bad = [key for key, _ in overrides if key not in RESUME_KEYS]
        if bad:
            raise ConfigError(f"--{bad[0]}: cannot change when resuming; only {', '.join(RESUME_KEYS)} can")
        return load_config(folder / "config.yaml", overrides), folder, True
    if (folder / "last.pt").exists() or (folder / "best.pt").exists():
        raise CheckpointError(f"{folder}: holds a run already; go on with it by --resume, or name another by --run")
    return load_config(path, overrides), folder, False


RESUME_KEYS = tuple(
    f"training.{name}"
    for name in (
        "max_steps",
        "max_epochs",
        "max_minutes",
        "patience",
        "log_every",
        "validate_every",
        "threads",
        "device",
    )
)
"""what may change when a run goes on"""


def pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """`--section.key value` and `--section.key=value` as (key, value)."""
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("--"):
            raise ConfigError(f"{argument!r}: not expected here; options are --section.key value")
        key, equals, value = argument[2:].partition("=")
        if key not in dict(known_options()):
            raise ConfigError(f"--{key}: unknown option{nearest(key, [*dict(known_options()), 'run', 'resume'])}")
        if not equals:
            try:
                value = next(rest)
            except StopIteration:
                raise ConfigError(f"--{key}: a value is missing") from None
        yield key, value


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    config, folder, resume = parse(argv)
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    train(config, folder, resume)
    return 0


if __name__ == "__main__":
    sys.exit(main_guard(main))
