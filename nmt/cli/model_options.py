"""Command-line options of the commands that use a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Protocol, TypedDict, cast

from nmt import artifact
from nmt.cli.parser import positive
from nmt.search.engine import ROWS
from nmt.search.request import SearchKeywords, SearchOptions

SEARCH_HELP = {
    "beam": "hypotheses kept, 1 is greedy (default: the model's, else 5)",
    "length_penalty": "exponent alpha of the length penalty, Wu et al. 2016, eq. 14 (default: the model's, else 1.0)",
    "min_length": "shortest translation of a segment, in pieces (default: 0)",
    "max_length": "longest translation of a segment, in pieces (default: by the length of its source)",
    "max_length_factor": "longest translation, as a multiple of the source pieces (default: 2.0)",
    "max_length_extra": "pieces added to that multiple (default: 10)",
    "stop_at": "complete hypotheses at which a search ends, faster (default: 0, until none can be better)",
    "no_repeat_ngram": "forbid a second occurrence of any n-gram of this size, 0 is off (default: 0)",
}


class TextKeywords(TypedDict):
    """How a text is treated."""

    split_sentences: bool
    protect_parts: bool
    keep_form: bool


class Bar(Protocol):
    """A progress bar (tqdm)."""

    @property
    def n(self) -> float: ...
    def update(self, n: float) -> object: ...


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add MODEL and how it is computed."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="exported file or run folder")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--dtype", choices=artifact.DTYPES, help="type to compute in (default: the model's own)")
    parser.add_argument(
        "--no-shortlist", dest="shortlist", action="store_false", help="search all pieces, if the model has a shortlist"
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: torch's choice)")


def add_search_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the fields of `SearchOptions` that have a help text, and the size and number of the engines."""
    group = parser.add_argument_group("search")
    for field in fields(SearchOptions):
        if field.name in SEARCH_HELP:
            name = "--" + field.name.replace("_", "-")
            kind = float if "float" in str(field.type) else int
            group.add_argument(name, type=kind, metavar="N", help=SEARCH_HELP[field.name])
    group.add_argument(
        "--rows", type=positive, default=ROWS, metavar="N", help="hypotheses decoded at once; sentences are rows / beam"
    )
    group.add_argument(
        "--engines",
        type=positive,
        metavar="N",
        help="searches side by side, each with its share of rows and threads (default: as measured)",
    )
    group.add_argument(
        "--cuda-graphs", action="store_true", help="on a GPU, launch several steps at once (not yet tried on a GPU)"
    )


def search_keywords(options: argparse.Namespace) -> SearchKeywords:
    """Return the search options of a command line, for `Translator.search_options`; None where none was given."""
    values = {name: getattr(options, name) for name in SEARCH_HELP} | {"n_best": getattr(options, "nbest", None)}
    return cast(SearchKeywords, values)


def show_progress(bar: Bar, begin: int, lines: int, share: float) -> None:
    """Move a bar that counts lines to `begin` plus the share of the next `lines` that is done."""
    bar.update(begin + int(lines * share) - bar.n)


def language_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for models of several languages."""
    parser.add_argument("--source", default="", metavar="CODE", help="source language, for sentence splitting")
    parser.add_argument("--target", default="", metavar="CODE", help="target language, if the model has several")


TEXT_HELP = {
    "split_sentences": "translate each sentence of a line by itself (on by default)",
    "protect_parts": "carry placeholders, tags, addresses and numbers over unharmed (on by default)",
    "keep_form": "capitals, outer quotation marks and the mark at the end as in the source (on by default)",
}


def text_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the switches of how a text is treated, which are those of `Translator.translate`."""
    group = parser.add_argument_group("text")
    for name, text in TEXT_HELP.items():
        option = "--" + name.replace("_", "-")
        group.add_argument(option, action=argparse.BooleanOptionalAction, default=True, help=text)


def text_keywords(options: argparse.Namespace) -> TextKeywords:
    """Return the switches of a command line, for `Translator.translate`."""
    return cast(TextKeywords, {name: getattr(options, name) for name in TEXT_HELP})


def file_arguments(names: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Add required text files, plain or gzip."""
    for name in names:
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="FILE", help="text file, plain or gzip")
