"""What attention is worth: members of the model family, trained with equal numbers of parameters and steps, compared.

    python -m nmt.experiments attention                                       the starter corpus, 15 minutes
    python -m nmt.experiments attention --corpus europarl-en-fr --data.root data/corpora --jobs 2
    python -m nmt.experiments attention --members lstm,default --steps 100    a quick look

All members train on the same batches in the same order for the same number of steps, from the same seed, with the same
learning rate (a member of attention.yaml may set its own under `training`). If it is started again, the command keeps
what is trained and translated, resumes what is not, and computes scores and figures anew. Any key of the config can be
set for all members: --section.key value.

Files in the folder OUT:

    runs/, hypotheses/           for each member a run folder, and its translations of the test set
    results.csv, results.md      one line per member: size, speed, BLEU with interval, chrF, perplexity
    bleu_by_length.*             BLEU by source length (Bahdanau et al. 2015, figure 2)
    gradient_by_distance.*       gradient norm by distance from the last source piece (Pascanu et al. 2013)
    learning_curves.*            validation BLEU and perplexity during training
    alignments/                  the attention in chosen test sentences

Each has the numbers as .csv and pictures as .svg and .png; the pictures need matplotlib.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from nmt.cli.parser import Parser, positive
from nmt.corpus.prepare import prepare
from nmt.device import keep_freed_memory
from nmt.errors import ConfigError, MissingPackageError
from nmt.experiments.analysis import Experiment, analyse
from nmt.experiments.material import limit_validation, test_split
from nmt.experiments.plan import CorpusPlan, choose, config_of, load_plan, members_of
from nmt.experiments.runs import is_done, produce, produce_side_by_side, say
from nmt.experiments.table import write_markdown


def add_arguments(parser: Parser, plan: Path) -> None:
    """Define the options of the experiment with this plan."""
    add = parser.add_argument
    add("--corpus", default="starter", metavar="NAME", help="a corpus of the plan")
    add("--out", type=Path, metavar="OUT", help=f"folder of the results (default: runs/{plan.stem}-CORPUS)")
    add("--members", default="", metavar="A,B", help="only these members (default: all of the plan)")
    add("--plan", type=Path, default=plan, metavar="FILE", help="another plan")
    add("--steps", type=positive, metavar="N", help="training steps of each member (default: the plan's)")
    add("--parameters", type=positive, metavar="N", help="parameters of each member (default: the plan's)")
    add("--seed", type=int, metavar="N", help="seed of weights and batches (default: the plan's)")
    add("--jobs", type=positive, default=1, metavar="N", help="members trained at the same time")
    add("--threads", type=positive, metavar="N", help="CPU threads of each job (default: cores / jobs)")
    add("--rounds", type=positive, default=7, metavar="N", help="timed steps of each member")
    add("--sentence", action="append", metavar="TEXT", help="draw the attention in this sentence; may be repeated")
    add("--only-train", action="store_true", help="train and translate, without tables and figures")
    add("--redraw", action="store_true", help="only write results.md and the figures, from the CSV files in OUT")


def main(options: argparse.Namespace, overrides: list[tuple[str, str]], argv: list[str]) -> None:
    """Run the experiment with these options and settings of the config; `argv` is the whole command line."""
    out: Path = options.out or Path("runs") / f"{options.plan.stem}-{options.corpus}"
    if not options.redraw:
        run(options, overrides, argv, out)
    if not options.only_train:
        say(write_markdown(out, load_plan(options.plan).baseline))
        draw(out)


def run(options: argparse.Namespace, overrides: list[tuple[str, str]], argv: list[str], out: Path) -> None:
    """Train, translate and write the CSV files."""
    plan = load_plan(options.plan)
    part: CorpusPlan = choose("corpus", options.corpus, plan.corpora)
    names = list(dict.fromkeys(name for name in options.members.split(",") if name)) or list(plan.members)
    keep_freed_memory()
    threads = options.threads or max(1, (os.cpu_count() or 1) // options.jobs)
    for key, value in (("max_steps", options.steps), ("seed", options.seed), ("threads", threads)):
        if value is not None:
            overrides.append((f"training.{key}", str(value)))
    base = config_of(plan, options.corpus, plan.baseline, overrides)
    if base.training.max_steps is None:
        raise ConfigError("training.max_steps is not set, and members are compared after equal steps; give --steps")
    if part.valid_pairs:
        changed = limit_validation(base, part.valid_pairs, out / "data").data
        overrides += [(f"data.{key}", str(getattr(changed, key))) for key in ("root", "valid_src", "valid_tgt")]
        base = base.model_copy(update={"data": changed})
    corpus = prepare(base.data, base.data.cache, say)
    test = test_split(corpus)

    budget = options.parameters or part.parameters
    wanted = list(dict.fromkeys([*names, plan.baseline]))
    sized = members_of(plan, options.corpus, wanted, corpus.tokenizer.vocabulary, budget, overrides)
    members = sized[: len(names)]
    for member in members:
        say(f"{member.name}: h {member.hidden}, {member.parameters:,} parameters, config {member.config.digest()}")
    todo = [member for member in members if not is_done(out, member)]
    with stopped_by_sigterm():
        if options.jobs > 1 and len(todo) > 1:
            produce_side_by_side(todo, argv, options.jobs, threads)
        else:
            for number, member in enumerate(todo, 1):
                say(f"{member.name}: member {number} of {len(todo)} to be trained")
                produce(out, member, test)
    if not options.only_train:
        baseline = sized[wanted.index(plan.baseline)]
        command = f"python -m nmt.experiments {shlex.join(argv)}"
        sentences = tuple(options.sentence or ())
        analyse(
            Experiment(plan, options.corpus, part, corpus, members, baseline, out, command, options.rounds, sentences)
        )


def draw(out: Path) -> None:
    """Draw the figures if matplotlib is installed."""
    try:
        from nmt.experiments import figures
    except ModuleNotFoundError:
        say(f"no figures: {MissingPackageError('drawing them', 'matplotlib')}; then run again with --redraw")
        return
    for path in figures.draw(out):
        say(f"wrote {path}")


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM raise an exception, as Ctrl-C does, so that child processes are ended too."""

    def stop(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
