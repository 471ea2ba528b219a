"""All numbers of an experiment: from run folders and hypotheses to CSV files.

In the way of the data: runs -> **analysis** -> CSV files -> table, figures. Each `write_` function writes one file.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nmt.corpus.prepared import PreparedCorpus
from nmt.experiments import alignments, curves, scores, speed
from nmt.experiments.gradients import gradient_by_distance
from nmt.experiments.material import first_batches, target_tokens, test_split
from nmt.experiments.plan import CorpusPlan, Member, Plan
from nmt.experiments.runs import hypotheses_file, run_folder, say
from nmt.experiments.table import read_csv, write_csv, write_matrix
from nmt.files import read_text
from nmt.model.seq2seq import Seq2Seq
from nmt.training.run_folder import load_run


@dataclass(frozen=True)
class Experiment:
    """What is compared, on which corpus, and in which folder; all members are trained and the test set translated."""

    plan: Plan
    corpus_name: str
    part: CorpusPlan
    corpus: PreparedCorpus
    members: list[Member]
    baseline: Member
    """the member whose speed is 1; not necessarily one of `members`"""
    out: Path
    command: str
    """the command line that reproduces all this"""
    rounds: int
    """timed steps of each member"""
    sentences: tuple[str, ...]
    """draw the attention in these; if empty, in some of the test set"""

    def hypotheses(self, member: Member) -> list[str]:
        """Return a member's translations of the test set."""
        return read_text(hypotheses_file(self.out, member.name))


def analyse(experiment: Experiment) -> None:
    """Write all CSV files."""
    say("speed: timing training steps of all members in turns")
    speeds = measure_speed(experiment)
    say("scores of the test set, with bootstrap intervals")
    write_results(experiment, speeds)
    write_lengths(experiment)
    write_curves(experiment)
    say("gradients by distance")
    write_gradients(experiment)
    say("alignments")
    write_alignments(experiment)


def label(member: Member) -> dict[str, str]:
    """Return the columns that identify the member of a row."""
    return {"member": member.name, "title": member.title, "attention": member.config.model.decoder.attention}


def measure_speed(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """Write speed.csv and return its columns by member.

    A file of an earlier call is kept if it has all members: ratios are valid within one measurement only.
    """
    path = experiment.out / "speed.csv"
    kept = {row["member"]: row for row in read_csv(path)}
    if any(kept.get(m.name, {}).get("config_digest") != m.config.digest() for m in experiment.members):
        timed = {m.name: m for m in (*experiment.members, experiment.baseline)}
        threads = experiment.baseline.config.training.threads or 1
        batches = first_batches(experiment.baseline.config, experiment.corpus, experiment.rounds + speed.WARM_UP)
        configs = {name: member.config for name, member in timed.items()}
        vocabulary = experiment.corpus.tokenizer.vocabulary
        found = speed.measure(configs, experiment.baseline.name, batches, vocabulary, threads)
        rows = [
            {
                "member": name,
                "config_digest": configs[name].digest(),
                "tokens_per_second": each.tokens_per_second,
                "ratio": each.ratio,
                "rounds": experiment.rounds,
                "threads": threads,
                "hardware": hardware(),
            }
            for name, each in found.items()
        ]
        write_csv(path, rows)
    return {
        row["member"]: {
            "speed_tokens_per_second": float(row["tokens_per_second"]),
            "speed_ratio": float(row["ratio"]),
            "speed_rounds": int(row["rounds"]),
            "threads": int(row["threads"]),
        }
        for row in read_csv(path)
    }


def write_results(experiment: Experiment, speeds: dict[str, dict[str, Any]]) -> None:
    """Write results.csv."""
    rows = [
        {**result(experiment, member), **speeds[member.name], "command": experiment.command}
        for member in experiment.members
    ]
    write_csv(experiment.out / "results.csv", rows)


def result(experiment: Experiment, member: Member) -> dict[str, Any]:
    """Return a member's row of results.csv, without its speed."""
    folder = run_folder(experiment.out, member.name)
    info = load_run(folder).info
    test = test_split(experiment.corpus)
    hypotheses = experiment.hypotheses(member)
    bleu = scores.bleu(hypotheses, test.reference_lines)
    chrf, chrf_signature = scores.chrf(hypotheses, test.reference_lines)
    validations = curves.validations(folder)
    steps = validations[-1].step  # a run ends with a validation
    best = next(validation for validation in validations if validation.step == info["steps"])
    return {
        **label(member),
        "corpus": experiment.corpus_name,
        "hidden": member.hidden,
        "parameters": member.parameters,
        "steps": steps,
        "target_tokens": int(target_tokens(member.config, experiment.corpus, steps)[-1]),
        "train_tokens_per_second": curves.training_speed(folder),
        "best_step": best.step,
        "valid_bleu": best.bleu,
        "perplexity": best.perplexity,
        "bleu": bleu.score,
        "bleu_low": bleu.low,
        "bleu_high": bleu.high,
        "brevity": bleu.brevity,
        "chrf": chrf,
        "sentences": len(hypotheses),
        "beam": member.config.search.beam,
        "bleu_signature": bleu.signature,
        "chrf_signature": chrf_signature,
        "seed": member.config.training.seed,
        "learning_rate": member.config.training.learning_rate,
        "config_digest": member.config.digest(),
        "date": info["date"],
        "hardware": hardware() if info["hardware"].endswith("CPU") else info["hardware"],
        "torch": info["torch"],
    }


def write_lengths(experiment: Experiment) -> None:
    """Write bleu_by_length.csv."""
    test = test_split(experiment.corpus)
    rows = []
    for member in experiment.members:
        hypotheses = experiment.hypotheses(member)
        edges = experiment.part.length_bins
        for each in scores.bleu_by_length(test.source_lines, hypotheses, test.reference_lines, edges):
            bleu = each.bleu
            rows.append(
                {
                    **label(member),
                    "words": str(each.bin),
                    "sentences": each.sentences,
                    "mean_words": each.mean_words,
                    "bleu": bleu.score,
                    "low": bleu.low,
                    "high": bleu.high,
                    "brevity": bleu.brevity,
                    "signature": bleu.signature,
                }
            )
    write_csv(experiment.out / "bleu_by_length.csv", rows)


def write_curves(experiment: Experiment) -> None:
    """Write learning_curves.csv."""
    validations = {m.name: curves.validations(run_folder(experiment.out, m.name)) for m in experiment.members}
    last = max(each[-1].step for each in validations.values())
    seen = target_tokens(experiment.baseline.config, experiment.corpus, last)
    write_csv(
        experiment.out / "learning_curves.csv",
        [
            {**label(member), "step": each.step, "target_tokens": int(seen[each.step])}
            | {"bleu": each.bleu, "perplexity": each.perplexity}
            for member in experiment.members
            for each in validations[member.name]
        ],
    )


def write_gradients(experiment: Experiment) -> None:
    """Write gradient_by_distance.csv: before and after training, on validation sentences."""
    rows = []
    for member in experiment.members:
        if member.name not in experiment.plan.gradients:
            continue
        torch.manual_seed(member.config.training.seed)  # the initial weights of its training
        fresh = Seq2Seq(member.config.model, experiment.corpus.tokenizer.vocabulary)
        trained = load_run(run_folder(experiment.out, member.name)).model
        for when, model in (("before training", fresh), ("after training", trained)):
            norms, sentences = gradient_by_distance(
                model,
                experiment.corpus.valid,
                experiment.part.gradient_pieces,
                reverse=member.config.model.reverse_source,
            )
            rows += [
                {**label(member), "when": when, "distance": distance, "relative_norm": norm, "sentences": sentences}
                for distance, norm in enumerate(norms)
            ]
    write_csv(experiment.out / "gradient_by_distance.csv", rows)


def write_alignments(experiment: Experiment) -> None:
    """Write alignments/MEMBER-N.csv for the N-th sentence."""
    lines: Sequence[str] = experiment.sentences or alignments.choose_sentences(
        test_split(experiment.corpus).source_lines, experiment.part.alignment_words
    )
    for member in experiment.members:
        if member.config.model.decoder.attention != "none":
            for number, each in enumerate(alignments.align(experiment.out, member, lines), 1):
                path = experiment.out / "alignments" / f"{member.name}-{number}.csv"
                write_matrix(path, each.source, each.target, each.weights)


def hardware() -> str:
    """Return the name of this machine's processor and the number of its cores."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    except OSError:
        found = None
    return f"{found[1] if found else platform.processor() or platform.machine()}, {os.cpu_count()} cores"
