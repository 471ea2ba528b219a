"""Parallel text for training: `fetch` gets a public corpus, `prepare` cleans and splits one's own.

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

from nmt.cli.parser import HelpFormatter
from nmt.corpus.fetch import CORPORA, fetch
from nmt.corpus.prepare import CorpusSettings, clean_and_split
from nmt.corpus.report import Report
from nmt.errors import CorpusError
from nmt.files import atomic_folder, write_text

# The corpus names its settings as in a config; here they are options.
_OPTIONS = {
    "data.train_src": "--src",
    "data.train_tgt": "--tgt",
    "data.train_tsv": "--tsv",
    "data.valid_size": "--valid",
    "data.test_size": "--test",
}


def prepare_files(settings: CorpusSettings, out: Path) -> Report:
    """Clean and split the training files of `settings` into `out`/{train,valid,test}.LANG and report.json.

    Whole or not at all. The target side of valid and test stays as it stands in the file, for it is the reference.
    Raises `CorpusError` for bad text, or an `out` that holds something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CorpusError(f"{out}: exists already; name a new folder with --out")
    report = Report()
    try:
        train, held_out = clean_and_split(settings, report)
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


def _as_options(message: str) -> str:
    for setting, option in _OPTIONS.items():
        message = message.replace(setting, option)
    return message


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m nmt.data", description=__doc__, formatter_class=HelpFormatter)
    commands = top.add_subparsers(dest="command", required=True)

    known = "\n".join(f"  {name}: {c.description}\n    licence: {c.licence}" for name, c in CORPORA.items())
    get = commands.add_parser(
        "fetch", help="get a public corpus", description=f"known corpora:\n{known}", formatter_class=HelpFormatter
    )
    get.add_argument("name", metavar="NAME", help="one of the known corpora")
    get.add_argument("--root", type=Path, default=Path("data/corpora"), help="folder for NAME/SPLIT.LANG.gz")
    get.add_argument("--accept-licence", action="store_true", help="say that the corpus' licence is accepted")
    get.add_argument("--url", help="a mirror of the publisher's folder")

    own = commands.add_parser(
        "prepare",
        help="clean and split one's own text",
        description="Clean and split parallel text, plain or gzip, a sentence a line.",
        formatter_class=HelpFormatter,
    )
    own.add_argument("--src", type=Path, nargs="+", default=[], metavar="FILE", help="source text")
    own.add_argument("--tgt", type=Path, nargs="+", default=[], metavar="FILE", help="target text, line by line")
    own.add_argument("--tsv", type=Path, nargs="+", default=[], metavar="FILE", help="source<TAB>target lines")
    own.add_argument(
        "--columns", type=_from_one, nargs=2, default=(1, 2), help="columns of --tsv, from 1: source, target"
    )
    own.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the result")
    own.add_argument("--source-language", default="src", metavar="LANG", help="suffix of the source files")
    own.add_argument("--target-language", default="tgt", metavar="LANG", help="suffix of the target files")
    own.add_argument("--valid", type=_size, default=1000, metavar="N", help="pairs held out for validation")
    own.add_argument("--test", type=_size, default=1000, metavar="N", help="pairs held out for the test")
    own.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the split")
    own.add_argument(
        "--max-characters", type=_from_one, default=1000, metavar="N", help="longest sentence, in characters"
    )
    own.add_argument(
        "--max-ratio", type=float, default=9.0, metavar="X", help="largest ratio of the lengths, in characters"
    )
    own.add_argument("--keep-duplicates", action="store_true", help="keep pairs seen before")
    own.add_argument("--drop-identical", action="store_true", help="drop pairs whose sides are the same text")
    own.add_argument("--json", action="store_true", help="print the report as JSON")
    return top


def _from_one(text: str) -> int:
    return _size(text, 1)


def _size(text: str, least: int = 0) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} up")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    options = parser().parse_args(argv)
    if options.command == "fetch":
        there = (options.root / options.name).exists()
        folder = fetch(options.name, options.root, accept_licence=options.accept_licence, url=options.url)
        print(f"{folder}: {'there already, left as it is' if there else 'ready'}")
        print(f"licence: {CORPORA[options.name].licence}")
        return 0
    if options.source_language == options.target_language:
        raise CorpusError(f"--source-language and --target-language are both {options.source_language}")
    settings = CorpusSettings(
        train_src=tuple(options.src),
        train_tgt=tuple(options.tgt),
        train_tsv=tuple(options.tsv),
        tsv_columns=(options.columns[0] - 1, options.columns[1] - 1),
        source_language=options.source_language,
        target_language=options.target_language,
        valid_size=options.valid,
        test_size=options.test,
        split_seed=options.seed,
        deduplicate=not options.keep_duplicates,
        keep_identical=not options.drop_identical,
        max_characters=options.max_characters,
        max_character_ratio=options.max_ratio,
    )
    if not any(settings.files("train")):
        raise CorpusError("no text: give --src and --tgt, or --tsv")
    report = prepare_files(settings, options.out)
    print(json.dumps(report.to_dict(), ensure_ascii=False) if options.json else f"{report}\nwritten to {options.out}")
    return 0
