"""What the commands that use a model share: its arguments, and loading it from an exported file or a run folder."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NoReturn, Protocol

import torch

from nmt import artifact
from nmt.artifact import Artifact
from nmt.cli import HelpFormatter
from nmt.device import pick_device
from nmt.engine import Engine, SearchOptions
from nmt.errors import NMTError
from nmt.translator import Translator

SEARCH_HELP = {
    "beam": "hypotheses kept; 1 is greedy (default: the model's, else 5)",
    "length_penalty": "exponent alpha of the length penalty, Wu et al. 2016, eq. 14 (default: the model's, else 1.0)",
    "min_length": "shortest translation of a segment, pieces",
    "max_length": "longest translation of a segment, pieces (default: by its source)",
    "max_length_factor": "longest translation, as a multiple of the source pieces",
    "max_length_extra": "so many pieces are added to that",
    "no_repeat_ngram": "no sequence of so many pieces twice in a translation; 0 is off",
}


class Bar(Protocol):
    """A progress bar (tqdm)."""

    @property
    def n(self) -> float: ...
    def update(self, n: float) -> object: ...


class Formatter(HelpFormatter):
    """Shows defaults that say something: numbers and names."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, ""):
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and name the nearest known option."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, formatter_class=Formatter, allow_abbrev=False)

    def parse_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """As in argparse, but for the error about unknown options."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            option = unknown[0].split("=")[0]
            near = difflib.get_close_matches(option, list(self._option_string_actions), n=1)
            hint = f"; did you mean {near[0]}?" if near and option.startswith("-") else f"; see {self.prog} --help"
            self.error(f"unknown argument {unknown[0]}{hint}")
        return found

    def error(self, message: str) -> NoReturn:
        """One line, exit code 2; the usage is what --help is for."""
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(2)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL and how it is computed."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="exported file or run folder")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--dtype", choices=artifact.DTYPES, help="type to compute in (default: the model's own)")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: torch's choice)")


def add_search_arguments(parser: argparse.ArgumentParser) -> None:
    """How translations are searched: the fields of SearchOptions, and the size of the engine."""
    group = parser.add_argument_group("search")
    for field in fields(SearchOptions):
        if field.name in SEARCH_HELP:
            name = "--" + field.name.replace("_", "-")
            of_model = field.name in ("beam", "length_penalty")
            default = None if of_model else field.default
            kind = float if "float" in str(field.type) else int
            group.add_argument(name, type=kind, default=default, metavar="N", help=SEARCH_HELP[field.name])
    group.add_argument("--slots", type=positive, default=64, metavar="N", help="sentences searched at once")


def positive(text: str) -> int:
    """An argument that is a number from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return number


def load_model(path: Path, device: str = "auto", dtype: str | None = None) -> Artifact:
    """Load an exported file, or the best model of a run folder; `NMTError` names what is missing or damaged."""
    if not path.is_dir():
        return artifact.load(path, device, dtype)
    try:
        from nmt import checkpoint, export  # training code: only where a run folder is asked for
    except ImportError as error:
        raise NMTError(
            f"{path}: a run folder needs {error.name} (pip install 'bahdanau[train]'); or export it: "
            f"python -m nmt.export {path}"
        ) from None
    return export.of_run(checkpoint.load_run(path), pick_device(device), dtype)


def open_translator(model: Artifact, options: argparse.Namespace) -> Translator:
    """A translator with an engine of its own."""
    engine = Engine(model.search, slots=options.slots, device=model.device)
    return Translator.of(model, engine)


def load_from(options: argparse.Namespace, path: Path | None = None) -> Artifact:
    """The model that a command was asked for, or that at `path`; says on stderr what is not as expected."""
    if options.threads:
        torch.set_num_threads(options.threads)
    model = load_model(path or options.model, options.device, options.dtype)
    if model.dtype != artifact.DTYPES[model.manifest.dtype] and options.dtype is None:
        kind = str(model.dtype).removeprefix("torch.")
        print(f"note: {path or options.model}: {model.manifest.dtype} is computed in {kind} here", file=sys.stderr)
    return model


def search_options(options: argparse.Namespace, model: Artifact, n_best: int = 1) -> SearchOptions:
    """The search that was asked for; what was left open is as the model's manifest has it."""
    given = {
        field.name: getattr(options, field.name)
        for field in fields(SearchOptions)
        if getattr(options, field.name, None) is not None
    }
    values = {**model.manifest.search, **given, "n_best": n_best}
    if "beam" not in given:
        values["beam"] = max(values.get("beam", SearchOptions.beam), n_best)
    return SearchOptions(**values)


def show_progress(bar: Bar, begin: int, lines: int, share: float) -> None:
    """Move a bar that counts lines to `begin` and the share of the next `lines` that is done."""
    bar.update(begin + int(lines * share) - bar.n)


def language_arguments(parser: argparse.ArgumentParser) -> None:
    """For models of several languages."""
    parser.add_argument("--source", default="", metavar="CODE", help="source language, for the rules of sentences")
    parser.add_argument("--target", default="", metavar="CODE", help="target language, where the model has several")


def file_arguments(names: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Required text files, plain or gzip."""
    for name in names:
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="FILE", help="text file, plain or gzip")
