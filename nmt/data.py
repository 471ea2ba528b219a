"""Parallel text for training: download a public corpus, or clean and split your own text.

    python -m nmt.data fetch multi30k --accept-licence
    python -m nmt.data prepare --src my.en --tgt my.de --out data/corpora/mine --valid 1000 --test 1000

In the way of the data: before `nmt.train`, whose configs name files below `data.root`.
"""

from __future__ import annotations

from nmt.cli.launch import launch

if __name__ == "__main__":  # above the imports that may fail, see nmt/cli/launch.py
    raise SystemExit(launch("nmt.data"))

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from nmt.cli.parser import Parser, positive
from nmt.corpus.fetch import CORPORA, OTHER_CORPORA, fetch, read_record
from nmt.corpus.prepare import Reject, clean_and_split
from nmt.corpus.report import Report
from nmt.corpus.settings import CorpusSettings
from nmt.errors import CorpusError
from nmt.files import atomic_folder, write_text

# Errors of the corpus name the keys of a config; in this command they are options.
_OPTIONS = {
    "data.train_src": "--src",
    "data.train_tgt": "--tgt",
    "data.train_tsv": "--tsv",
    "data.valid_size": "--valid",
    "data.test_size": "--test",
}


def prepare_files(settings: CorpusSettings, out: Path, tsv_columns: tuple[int, int], reject: Reject) -> Report:
    """Clean and split the training files of `settings` into `out`/{train,valid,test}.LANG and report.json.

    The folder is written whole or not at all. The target side of valid and test is kept exactly as in the file, as the
    reference. Raises `CorpusError` for bad text, or if `out` is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CorpusError(f"{out}: exists already; name a new folder with --out")
    report = Report()
    try:
        train, held_out = clean_and_split(settings, report, tsv_columns=tsv_columns, reject=reject)
    except CorpusError as error:
        raise CorpusError(_as_options(str(error))) from None
    report.warnings = [_as_options(warning) for warning in report.warnings]
    report.sizes = {"train": len(train)} | {name: len(pairs) for name, pairs in held_out.items()}
    try:
        with atomic_folder(out) as temporary:
            for name, pairs in {"train": train, **held_out}.items():
                target = [pair.tgt if name == "train" else pair.reference for pair in pairs]
                write_text(temporary / f"{name}.{settings.source_language}", [pair.src for pair in pairs])
                write_text(temporary / f"{name}.{settings.target_language}", target)
            (temporary / "report.json").write_text(json.dumps(report.to_dict(), ensure_ascii=False, indent=1), "utf-8")
    except OSError as error:
        raise CorpusError(f"{out}: cannot be written: {error.strerror or error}; name another folder") from None
    return report


def make_reject(max_characters: int, max_ratio: float, drop_identical: bool) -> Reject:
    """Return a filter of training pairs by their text: length, ratio of the lengths, identical sides."""

    def reject(src: str, tgt: str) -> str:
        shorter, longer = sorted((len(src), len(tgt)))
        if drop_identical and src == tgt:
            return "source and target identical"
        if longer > max_characters:
            return f"longer than {max_characters} characters"
        if longer > max_ratio * shorter:
            return f"lengths differ by more than {max_ratio:g} times, in characters"
        return ""

    return reject


def _as_options(message: str) -> str:
    for setting, option in _OPTIONS.items():
        message = message.replace(setting, option)
    return message


def make_parser() -> Parser:
    """Return the parser of the command line."""
    top = Parser("python -m nmt.data", __doc__ or "")
    commands = top.add_subparsers(dest="command", required=True)

    get = commands.add_parser("fetch", help="download a public corpus", description=_fetch_help())
    get.add_argument("name", metavar="NAME", help="a known corpus")
    get.add_argument("--root", type=Path, default=Path("data/corpora"), help="folder for NAME/SPLIT.LANG.gz")
    get.add_argument("--accept-licence", action="store_true", help="accept the licence of the corpus")
    get.add_argument("--url", help="mirror of the publisher's folder")
    get.add_argument("--sha256", metavar="HEX", help="SHA-256 that the downloaded archive must have")

    own = commands.add_parser(
        "prepare",
        help="clean and split your own text",
        description="Clean and split parallel text, plain or gzip, one sentence per line.",
    )
    own.add_argument("--src", type=Path, nargs="+", default=[], metavar="FILE", help="source text")
    own.add_argument("--tgt", type=Path, nargs="+", default=[], metavar="FILE", help="target text, line by line")
    own.add_argument("--tsv", type=Path, nargs="+", default=[], metavar="FILE", help="source<TAB>target lines")
    own.add_argument(
        "--columns", type=positive, nargs=2, default=(1, 2), help="columns of source and target in --tsv, from 1"
    )
    own.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the result")
    own.add_argument("--source-language", type=_code, default="src", metavar="LANG", help="suffix of the source files")
    own.add_argument("--target-language", type=_code, default="tgt", metavar="LANG", help="suffix of the target files")
    own.add_argument("--valid", type=_size, default=1000, metavar="N", help="pairs held out for validation")
    own.add_argument("--test", type=_size, default=1000, metavar="N", help="pairs held out for the test")
    own.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the split")
    own.add_argument(
        "--max-characters", type=positive, default=1000, metavar="N", help="longest sentence, in characters"
    )
    own.add_argument(
        "--max-ratio", type=float, default=9.0, metavar="X", help="largest ratio of the lengths, in characters"
    )
    own.add_argument("--keep-duplicates", action="store_true", help="keep repeated pairs")
    own.add_argument("--drop-identical", action="store_true", help="drop pairs whose sides are the same text")
    own.add_argument("--json", action="store_true", help="print the report as JSON")
    return top


def _fetch_help() -> str:
    lines = ["Download a public corpus and lay it out as the configs expect.", "", "Known corpora:"]
    for name, corpus in CORPORA.items():
        lines += [f"  {name}: {corpus.description}", f"    licence: {corpus.licence}", f"    version: {corpus.version}"]
    lines += ["", "Other corpora of the configs and results, which this command does not download:"]
    for name, how in OTHER_CORPORA.items():
        lines += [f"  {name}: {how}"]
    return "\n".join(lines)


def _size(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _code(text: str) -> str:
    if not text or "/" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a language code such as en")
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = make_parser().parse_args(argv)
    return _fetch(options) if options.command == "fetch" else _prepare(options)


def _fetch(options: argparse.Namespace) -> int:
    exists = (options.root / options.name).exists()
    folder = fetch(
        options.name,
        options.root,
        accept_licence=options.accept_licence,
        url=options.url,
        sha256=options.sha256,
    )
    print(f"{folder}: {'already there, left as it is' if exists else 'ready'}")
    for download in read_record(folder):
        print(f"downloaded {download}")
    print(f"licence: {CORPORA[options.name].licence}")
    return 0


def _prepare(options: argparse.Namespace) -> int:
    if options.source_language == options.target_language:
        raise CorpusError(f"--source-language and --target-language are both {options.source_language}")
    settings = CorpusSettings(
        root=Path(),
        train_src=tuple(options.src),
        train_tgt=tuple(options.tgt),
        train_tsv=tuple(options.tsv),
        source_language=options.source_language,
        target_language=options.target_language,
        valid_size=options.valid,
        test_size=options.test,
        split_seed=options.seed,
        deduplicate=not options.keep_duplicates,
    )
    if not any(settings.files(0, "train")):
        raise CorpusError("no text: give --src and --tgt, or --tsv")
    first, second = options.columns
    reject = make_reject(options.max_characters, options.max_ratio, options.drop_identical)
    report = prepare_files(settings, options.out, (first - 1, second - 1), reject)
    print(json.dumps(report.to_dict(), ensure_ascii=False) if options.json else f"{report}\nwritten to {options.out}")
    return 0
