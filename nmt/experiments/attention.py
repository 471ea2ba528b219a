"""What attention is worth: the members of the family under one budget of parameters and steps, trained and compared.

    python -m nmt.experiments attention                                       the starter corpus, minutes
    python -m nmt.experiments attention --corpus europarl-en-fr --data.root ../shared/corpora --jobs 2
    python -m nmt.experiments attention --members lstm,default --steps 100    a quick look

All members train on the same batches in the same order for the same number of steps, from the same seed, with the same
learning rate (a member of attention.yaml may name its own under `training`). Run again, the command goes on where it
was, and computes and draws all else anew. Any key of the config can be set for all members: --section.key value.

Into the folder OUT come

    runs/, hypotheses/           a run folder a member, and its translations of the test set
    results.csv, results.md      a line a member: size, speed, BLEU with interval, chrF, perplexity
    bleu_by_length.*             BLEU by source length (Bahdanau et al. 2015, figure 2)
    gradient_by_distance.*       how much of the gradient reaches back to a source piece (Pascanu et al. 2013)
    learning_curves.*            validation BLEU and perplexity while training
    alignments/                  the attention in chosen test sentences
each as numbers (.csv) and as pictures (.svg, .png; these need matplotlib).
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from nmt.cli.parser import Parser, positive
from nmt.cli.train_options import separate
from nmt.corpus.prepare import prepare
from nmt.device import keep_freed_memory
from nmt.errors import ConfigError
from nmt.experiments.analysis import Experiment, analyse
from nmt.experiments.material import limit_validation, test_split
from nmt.experiments.plan import ATTENTION, CorpusPlan, choose, config_of, load_plan, members_of
from nmt.experiments.runs import is_done, produce, produce_side_by_side, say


def parser(plan: Path) -> Parser:
    """The command line of the experiment with this plan."""
    about = __doc__ or "" if plan == ATTENTION else f"As `attention`, with the members of {plan.name}."
    new = Parser(f"python -m nmt.experiments {plan.stem}", about)
    new.add_argument("--corpus", default="starter", metavar="NAME", help="a corpus of the plan")
    new.add_argument("--out", type=Path, metavar="DIR", help=f"where the results go (default: runs/{plan.stem}-CORPUS)")
    new.add_argument("--members", default="", metavar="A,B", help="only these members (default: all of the plan)")
    new.add_argument("--plan", type=Path, metavar="FILE", help=f"another plan (default: {plan.name} of this package)")
    new.add_argument("--steps", type=positive, metavar="N", help="training steps of each member (default: the plan's)")
    new.add_argument("--parameters", type=positive, metavar="N", help="parameters of each member (default: the plan's)")
    new.add_argument("--seed", type=int, metavar="N", help="seed of weights and batches (default: the plan's)")
    new.add_argument("--jobs", type=positive, default=1, metavar="N", help="members trained side by side")
    new.add_argument("--threads", type=positive, metavar="N", help="CPU threads of each job (default: cores / jobs)")
    new.add_argument("--rounds", type=positive, default=7, metavar="N", help="timed steps of each member")
    new.add_argument("--sentence", action="append", metavar="TEXT", help="draw the attention in it; may be repeated")
    new.add_argument("--only-train", action="store_true", help="train and translate, no tables and figures")
    new.add_argument("--redraw", action="store_true", help="only draw the figures, from the CSV files in OUT")
    return new


def main(argv: Sequence[str], plan: Path = ATTENTION) -> int:
    """The command, from what stands behind its name; the name is that of the plan."""
    overrides, left = separate(argv)
    options = parser(plan).parse_args(left)
    options.plan = options.plan or plan
    out: Path = options.out or Path("runs") / f"{options.plan.stem}-{options.corpus}"
    if not options.redraw:
        run(plan.stem, options, overrides, list(argv), out)
    if not options.only_train:
        draw(out)
    return 0


def run(name: str, options: argparse.Namespace, overrides: list[tuple[str, str]], argv: list[str], out: Path) -> None:
    """Everything but the figures."""
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
        raise ConfigError("members are compared after the same number of steps; set --steps")
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
            produce_side_by_side(todo, [name, *argv], options.jobs, threads)
        else:
            for number, member in enumerate(todo, 1):
                say(f"{member.name}: member {number} of {len(todo)} to be trained")
                produce(out, member, test)
    if not options.only_train:
        baseline = sized[wanted.index(plan.baseline)]
        command = f"python -m nmt.experiments {name} {shlex.join(argv)}".rstrip()
        sentences = tuple(options.sentence or ())
        analyse(
            Experiment(plan, options.corpus, part, corpus, members, baseline, out, command, options.rounds, sentences)
        )


def draw(out: Path) -> None:
    """Draw the figures, where matplotlib is installed."""
    try:
        from nmt.experiments import figures
    except ImportError:
        say("no figures: they need matplotlib (pip install 'bahdanau[plot]'); then run again with --redraw")
        return
    for path in figures.draw(out):
        say(f"wrote {path}")


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that what it started is ended too."""

    def stop(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
