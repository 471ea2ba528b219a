"""Score a model on a test set by BLEU, chrF and TER, with signatures: `python -m nmt.evaluate MODEL --src F --ref F`.

In the way of the data: translator -> **evaluate** -> scores. With --compare the difference to another model, or to a
file of translations, is tested by paired bootstrap resampling (Koehn 2004, as in sacreBLEU).
"""

from __future__ import annotations

from nmt.cli.launch import launch

if __name__ == "__main__":  # above the imports that may fail, see nmt/cli/launch.py
    raise SystemExit(launch("nmt.evaluate"))

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from tqdm import tqdm

from nmt.artifact import ZIP_MAGIC, Artifact
from nmt.cli.model_options import (
    TextKeywords,
    add_model_arguments,
    add_search_arguments,
    file_arguments,
    language_arguments,
    search_keywords,
    show_progress,
    text_arguments,
    text_keywords,
)
from nmt.cli.parser import Parser, positive
from nmt.corpus.reading import read_lines, read_pair
from nmt.errors import MissingPackageError, NMTError
from nmt.files import atomic_write
from nmt.loading import load_from, pool_for
from nmt.search.engine import SearchOptions
from nmt.translation import Translation
from nmt.translator import Translator

_CHUNK_LINES = 2000


@dataclass(frozen=True)
class Score:
    """A score, 0 to 100 (TER may exceed it), with the sacreBLEU signature that says how it was computed."""

    score: float
    signature: str


@dataclass(frozen=True)
class Comparison:
    """A metric of two systems, compared on resampled test sets."""

    this: float
    other: float
    p_value: float
    """probability of a difference at least as large if the systems were equally good"""
    signature: str


def metrics() -> dict[str, Any]:
    """Return BLEU, chrF and TER with sacreBLEU's default settings; raises `NMTError` where it is not installed."""
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
        from sacrebleu.metrics.ter import TER
    except ModuleNotFoundError:
        raise MissingPackageError("nmt.evaluate", "sacrebleu") from None
    return {"BLEU": BLEU(), "chrF": CHRF(), "TER": TER()}


def score(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, Score]:
    """Compute BLEU and chrF (higher is better) and TER (lower is better) of a test set, in percent."""
    found = {}
    for name, metric in metrics().items():
        value = metric.corpus_score(hypotheses, [references]).score
        found[name] = Score(value, str(metric.get_signature()))
    return found


def compare(
    this: Sequence[str], other: Sequence[str], references: Sequence[str], samples: int = 1000
) -> dict[str, Comparison]:
    """Test whether two systems differ, by a paired bootstrap over `samples` resampled test sets."""
    from sacrebleu.significance import PairedTest

    test = PairedTest([("other", other), ("this", this)], metrics(), [references], test_type="bs", n_samples=samples)
    outcome: Any = test()  # its annotations are loose
    signatures, scores = outcome
    found = {}
    for name, signature in signatures.items():
        one, two = scores[name]
        found[name] = Comparison(two.score, one.score, two.p_value, str(signature))
    return found


def translate(
    translator: Translator,
    lines: Sequence[str],
    search: SearchOptions,
    *,
    source_language: str = "",
    target_language: str = "",
    **text: Unpack[TextKeywords],
) -> tuple[list[Translation], float]:
    """Translate `lines` with a progress bar on a terminal; returns the translations and the seconds taken."""
    translator.translate(  # the first calls compile, so not timed
        lines[:2], search, source_language=source_language, target_language=target_language, **text
    )
    found: list[Translation] = []
    began = time.monotonic()
    with tqdm(total=len(lines), unit=" lines", disable=not sys.stderr.isatty(), leave=False) as bar:
        for begin in range(0, len(lines), _CHUNK_LINES):
            chunk = lines[begin : begin + _CHUNK_LINES]
            found += translator.translate(
                chunk,
                search,
                source_language=source_language,
                target_language=target_language,
                progress=partial(show_progress, bar, begin, len(chunk)),
                **text,
            )
    return found, time.monotonic() - began


def build_parser() -> Parser:
    """Define the command line."""
    parser = Parser("python -m nmt.evaluate", __doc__ or "")
    add_model_arguments(parser)
    file_arguments(["src", "ref"], parser)
    parser.add_argument("--output", "-o", type=Path, metavar="FILE", help="write the translations to FILE")
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="OTHER",
        help="another model, or a text file with translations of the same test set",
    )
    parser.add_argument("--samples", type=positive, default=1000, metavar="N", help="resampled test sets for --compare")
    parser.add_argument("--json", action="store_true", help="print JSON")
    language_arguments(parser)
    text_arguments(parser)
    add_search_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = build_parser().parse_args(argv)
    text = read_pair(options.src, options.ref)
    others = _other_lines(options.compare, len(text.src))
    metrics()  # fails now, not after minutes of translating, if sacrebleu is missing
    model = load_from(options)
    translator = _translator(model, options)
    search = translator.search_options(**search_keywords(options))
    languages = {"source_language": options.source, "target_language": options.target}
    switches = text_keywords(options)
    found, seconds = translate(translator, text.src, search, **languages, **switches)
    hypotheses = [" ".join(translation.text.split("\n")) for translation in found]
    if options.output:
        with atomic_write(options.output) as file:
            file.write("".join(f"{line}\n" for line in hypotheses).encode())
    scores = score(hypotheses, text.tgt)
    pieces = sum(len(segment.token_log_probs) for translation in found for segment in translation.segments)
    result: dict[str, Any] = {
        "model": str(options.model),
        "checksum": model.manifest.checksum,
        "dtype": model.manifest.dtype,
        "size_bytes": _size(options.model, model),
        "device": str(model.device),
        "src": str(options.src),
        "ref": str(options.ref),
        "search": asdict(search),
        "text": switches,
        "scores": {name: asdict(value) for name, value in scores.items()},
        "sentences": len(hypotheses),
        "seconds": round(seconds, 3),
        "sentences_per_second": round(len(hypotheses) / max(seconds, 1e-9), 1),
        "pieces_per_second": round(pieces / max(seconds, 1e-9), 1),
        "truncated": sum(translation.truncated for translation in found),
    }
    if options.compare:
        if others is None:
            other = _translator(load_from(options, options.compare), options)
            other_search = other.search_options(**search_keywords(options))
            translations, _ = translate(other, text.src, other_search, **languages, **switches)
            others = [" ".join(translation.text.split("\n")) for translation in translations]
        found_comparison = compare(hypotheses, others, text.tgt, options.samples)
        result["compare"] = {"other": str(options.compare), **{k: asdict(v) for k, v in found_comparison.items()}}
    print(json.dumps(result, ensure_ascii=False, indent=2) if options.json else report(result))
    return 0


def _translator(model: Artifact, options: argparse.Namespace) -> Translator:
    return Translator.from_artifact(model, pool_for(model, options))


def report(result: dict[str, Any]) -> str:
    """Format the result as text."""
    search = result["search"]
    size = f", {result['size_bytes'] / 1e6:.1f} MB" if result["size_bytes"] else ""
    lines = [
        f"{result['model']}: {result['dtype']}{size}, on {result['device']}, beam {search['beam']}, "
        f"length penalty {search['length_penalty']:g}",
        *(f"{name:5}{value['score']:7.2f}   {value['signature']}" for name, value in result["scores"].items()),
        f"{result['sentences']} sentences in {result['seconds']:.1f} s: "
        f"{result['sentences_per_second']:g} sentences/s, {result['pieces_per_second']:g} target pieces/s",
    ]
    if result["truncated"]:
        lines.append(f"{result['truncated']} translations were truncated at the length limit")
    if comparison := dict(result.get("compare", {})):
        lines.append(f"against {comparison.pop('other')}:")
        for name, value in comparison.items():
            difference = f"{value['this']:.2f} - {value['other']:.2f} = {value['this'] - value['other']:+.2f}"
            lines.append(f"{name:5} {difference}, p = {value['p_value']:.4f}   {value['signature']}")
    return "\n".join(lines)


def _other_lines(path: Path | None, count: int) -> list[str] | None:
    """Read the translations in a text file of `count` lines; None if `path` is a model."""
    if path is None or path.is_dir():
        return None
    if path.is_file():
        with open(path, "rb") as file:
            if file.read(4) == ZIP_MAGIC:
                return None
    lines = read_lines(path)
    if len(lines) != count:
        raise NMTError(
            f"{path} has {len(lines):,} lines but the test set has {count:,}; give translations of the same test set"
        )
    return lines


def _size(path: Path, model: Artifact) -> int:
    return model.size_bytes or sum(file.stat().st_size for file in path.glob("best.pt"))
