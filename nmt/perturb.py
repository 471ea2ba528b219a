"""How a model takes text as people type it: `python -m nmt.perturb MODEL --src F --ref F`, a table or JSON.

In the way of the data: translator -> **perturb** -> scores. Each row changes the source and says what comes of it: BLEU
against the same references where the translation should stay, or the share of lines in which an added part comes back
exactly. The column `plain` is without what is done around the model (`split_sentences`, `protect_parts`, `keep_form`).
"""

from __future__ import annotations

from nmt.cli.launch import launch

if __name__ == "__main__":  # above the imports that may fail, see nmt/cli/launch.py
    raise SystemExit(launch("nmt.perturb"))

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from nmt.cli.model_options import (
    add_model_arguments,
    add_search_arguments,
    file_arguments,
    language_arguments,
    search_keywords,
)
from nmt.cli.parser import Parser, positive
from nmt.corpus.reading import read_pair
from nmt.errors import MissingPackageError
from nmt.loading import load_from, pool_for
from nmt.translator import Translator

Change = Callable[[str, random.Random], str]


@dataclass(frozen=True)
class Row:
    """One perturbation."""

    name: str
    measure: str
    """BLEU, BLEU without case, or exact copies, in percent"""
    score: float
    plain: float
    """without what is done around the model"""


def _typo(text: str, draw: random.Random) -> str:
    """Exchange two neighbouring letters of a word."""
    places = [n for n in range(1, len(text) - 2) if text[n : n + 2].isalpha()]
    if not places:
        return text
    n = draw.choice(places)
    return text[:n] + text[n + 1] + text[n] + text[n + 2 :]


def _title(text: str, _: random.Random) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))


def _turn_stop(text: str, _: random.Random) -> str:
    return text[:-1] if text.endswith(".") else f"{text}."


CHANGES: dict[str, Change] = {
    "as it is": lambda text, _: text,
    "first letter lower case": lambda text, _: text[:1].lower() + text[1:],
    "lower case": lambda text, _: text.lower(),
    "all caps": lambda text, _: text.upper(),
    "title case": _title,
    "full stop added or removed": _turn_stop,
    "in quotation marks": lambda text, _: f'"{text}"',
    "a typing error": _typo,
}
"""the translation should stay; what is added to it is taken off before scoring"""
PARTS: dict[str, Sequence[str]] = {
    "number": ("7", "42", "1985", "3.5", "20,000"),
    "name": ("Xanthippe", "Okonkwo", "Brzeziński", "Nakamura"),
    "URL": ("https://example.org/a?b=1&c=2", "www.example.com/index.html"),
    "e-mail address": ("jane.doe@example.org", "info@example.com"),
    "placeholder": ("{name}", "%s", '<x id="1"/>', "${count}"),
    "emoji": ("😀", "👩🏽‍💻", "🇩🇪"),
    "other script": ("Привет", "你好", "שלום", "ありがとう"),
}
"""appended to the line, before its full stop; the same one has to come back, once"""


def perturb(
    translate: Callable[[Sequence[str], bool], list[str]],
    source: Sequence[str],
    reference: Sequence[str],
) -> list[Row]:
    """Return the table; `translate` translates lines, with what is done around the model or without."""
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ModuleNotFoundError:
        raise MissingPackageError("nmt.perturb", "sacrebleu") from None
    rows: list[Row] = []

    def add(name: str, measure: str, lines: Sequence[str], score: Callable[[list[str]], float]) -> None:
        found, plain = (round(score(translate(lines, around)), 2) for around in (True, False))
        rows.append(Row(name, measure, found, plain))

    def bleu(lower: bool, references: Sequence[str] = reference) -> Callable[[list[str]], float]:
        return lambda lines: BLEU(lowercase=lower).corpus_score(lines, [references]).score

    for name, change in CHANGES.items():
        draw = random.Random(1)
        lower, score = name == "all caps", bleu(name == "all caps")
        if name == "in quotation marks":
            score = bleu(False, [f'"{line}"' for line in reference])
        elif name == "full stop added or removed":
            score = bleu(False, [_turn_stop(line, draw) for line in reference])
        add(name, "BLEU without case" if lower else "BLEU", [change(line, draw) for line in source], score)
    pairs = range(0, len(source) - 1, 2)
    add(
        "two sentences a line",
        "BLEU",
        [f"{source[n]} {source[n + 1]}" for n in pairs],
        bleu(False, [f"{reference[n]} {reference[n + 1]}" for n in pairs]),
    )
    for name, parts in PARTS.items():
        chosen = [parts[n % len(parts)] for n in range(len(source))]
        lines = [_with_part(line, part) for line, part in zip(source, chosen, strict=True)]
        add(name, "copied exactly, %", lines, lambda found, chosen=chosen: _copied(found, chosen))  # type: ignore[misc]
    return rows


def _with_part(line: str, part: str) -> str:
    return f"{line[:-1]} {part}." if line.endswith(".") else f"{line} {part}"


def _copied(lines: Sequence[str], parts: Sequence[str]) -> float:
    """Return the share of lines with their part exactly once, in percent."""
    return 100.0 * sum(line.count(part) == 1 for line, part in zip(lines, parts, strict=True)) / max(1, len(lines))


def table(rows: Sequence[Row]) -> str:
    """Format the rows as a Markdown table."""
    lines = ["| text | measure | score | plain |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {r.name} | {r.measure} | {r.score:.2f} | {r.plain:.2f} |" for r in rows)])


def build_parser() -> Parser:
    """Define the command line."""
    parser = Parser("python -m nmt.perturb", __doc__ or "")
    add_model_arguments(parser)
    file_arguments(["src", "ref"], parser)
    parser.add_argument("--lines", type=positive, metavar="N", help="use the first N lines only")
    parser.add_argument("--json", action="store_true", help="print JSON")
    language_arguments(parser)
    add_search_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = build_parser().parse_args(argv)
    text = read_pair(options.src, options.ref)
    model = load_from(options)
    translator = Translator.from_artifact(model, pool_for(model, options))
    search = translator.search_options(**search_keywords(options))

    def translate(lines: Sequence[str], around: bool) -> list[str]:
        found = translator.translate(
            lines,
            search,
            split_sentences=around,
            protect_parts=around,
            keep_form=around,
            source_language=options.source,
            target_language=options.target,
        )
        return [" ".join(translation.text.split("\n")) for translation in found]

    rows = perturb(translate, text.src[: options.lines], text.tgt[: options.lines])
    print(json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=2) if options.json else table(rows))
    return 0
