"""Translate text line by line: `python -m nmt.translate MODEL [FILE]`, from a file or stdin to stdout, in order.

In the way of the data: text -> translator -> **translate** -> text. The output has one line for each input line; with
--nbest N up to N lines `number ||| translation ||| score`, numbered from 0; with --scores `translation<TAB>score`. The
score is the geometric mean of the probabilities of the target pieces, from 0 to 1.
"""

from __future__ import annotations

from nmt.cli.launch import launch

if __name__ == "__main__":  # above the imports that may fail, see nmt/cli/launch.py
    raise SystemExit(launch("nmt.translate"))

import argparse
import os
import select
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO

from tqdm import tqdm

from nmt.cli.model_options import (
    add_model_arguments,
    add_search_arguments,
    language_arguments,
    search_keywords,
    show_progress,
    text_arguments,
    text_keywords,
)
from nmt.cli.parser import Parser, positive
from nmt.errors import NMTError, TranslationError
from nmt.loading import load_from, pool_for
from nmt.plot import draw_alignment
from nmt.text.protected import lost
from nmt.translation import Translation
from nmt.translator import Translator

WINDOW_LINES = 2000
_READ_BYTES = 1 << 20


def windows(stream: IO[bytes], size: int) -> Iterator[list[bytes]]:
    """Yield the lines of `stream`, without their LF, in lists of at most `size`.

    A list ends early when no more input is available yet, so that a line typed or sent through a pipe is translated at
    once.
    """
    rest = b""
    lines: list[bytes] = []
    while chunk := _read_some(stream):
        *complete, rest = (rest + chunk).split(b"\n")
        lines += complete
        while len(lines) >= size or (lines and not _more_to_read(stream)):
            yield lines[:size]
            lines = lines[size:]
    if rest:
        lines.append(rest)
    for begin in range(0, len(lines), size):
        yield lines[begin : begin + size]


def _read_some(stream: IO[bytes]) -> bytes:
    read = getattr(stream, "read1", stream.read)
    return bytes(read(_READ_BYTES))


def _more_to_read(stream: IO[bytes]) -> bool:
    try:
        return bool(select.select([stream], [], [], 0)[0])
    except (OSError, ValueError):  # no file descriptor (in a test), or Windows, where select takes sockets only
        return False


def decode(lines: Sequence[bytes], name: str, first: int) -> tuple[list[str], TranslationError | None]:
    """Decode lines of UTF-8, up to the first invalid one; returns the texts and the error of that line, or None.

    `name` and `first`, the number of the first line, are for the message.
    """
    texts: list[str] = []
    for line in lines:
        try:
            texts.append(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            return texts, TranslationError(
                f"{name}: line {first + len(texts)} is not valid UTF-8 (byte 0x{line[error.start]:02x}); "
                "convert it, e.g. iconv -f latin1 -t utf-8"
            )
    return texts, None


def present(number: int, translation: Translation, *, nbest: int, scores: bool, alignments: bool, width: int) -> str:
    """Format the output for one input line (`number` counts from 0), without the last line end.

    `width` is that of the drawings of --alignments, in columns.
    """
    if nbest > 1:
        every = zip(
            (translation.text, *translation.alternatives),
            (translation.score, *translation.alternative_scores),
            strict=True,
        )
        text = "\n".join(f"{number} ||| {text} ||| {score:.4f}" for text, score in every)
    else:
        text = f"{translation.text}\t{translation.score:.4f}" if scores else translation.text
    if alignments:
        for segment in translation.segments:
            weights = segment.attention.tolist()
            drawing = draw_alignment(segment.source_pieces, segment.target_pieces, weights, width=width)
            text += f"\n\n{drawing if segment.attention.any() else '(this model has no attention to draw)'}"
        text += "\n"
    return text


def build_parser() -> Parser:
    """Define the command line."""
    parser = Parser("python -m nmt.translate", __doc__ or "")
    add_model_arguments(parser)
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="UTF-8 text, one sentence per line; stdin if not given"
    )
    parser.add_argument("--output", "-o", type=Path, metavar="FILE", help="write to FILE instead of stdout")
    parser.add_argument("--nbest", type=positive, default=1, metavar="N", help="translations per line")
    parser.add_argument("--scores", action="store_true", help="append a tab and the score to each line")
    parser.add_argument("--alignments", action="store_true", help="draw the attention below each translation")
    parser.add_argument(
        "--window", type=positive, default=WINDOW_LINES, metavar="N", help="most lines read before translating them"
    )
    language_arguments(parser)
    text_arguments(parser)
    add_search_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = build_parser().parse_args(argv)
    with ExitStack() as stack:
        source, name = _open_source(options, stack)
        sink = stack.enter_context(open(options.output, "wb")) if options.output else sys.stdout.buffer
        model = load_from(options)
        translator = Translator.from_artifact(model, pool_for(model, options))
        search = translator.search_options(**search_keywords(options))
        typed = options.file is None and sys.stdin.isatty()
        # No bar where translations appear on the same terminal: they would run into its line.
        show_bar = sys.stderr.isatty() and not typed and (options.output is not None or not sys.stdout.isatty())
        bar = stack.enter_context(tqdm(unit=" lines", disable=not show_bar, leave=False, file=sys.stderr))
        width = os.get_terminal_size().columns if sys.stdout.isatty() else 100
        began, count = time.monotonic(), 0
        lacking, first = 0, ""
        for lines in windows(source, options.window):
            texts, error = decode(lines, name, count + 1)
            for translation in translator.translate(
                texts,
                search,
                source_language=options.source,
                target_language=options.target,
                progress=partial(show_progress, bar, count, len(texts)),
                **text_keywords(options),
            ):
                shown = present(
                    count,
                    translation,
                    nbest=options.nbest,
                    scores=options.scores,
                    alignments=options.alignments,
                    width=width,
                )
                sink.write(f"{shown}\n".encode())
                count += 1
                if options.protect_parts and (absent := lost(translation.source, translation.text)):
                    lacking += 1
                    first = first or f"line {count}: {absent[0]}"
                if translation.truncated:
                    tqdm.write(f"warning: {name}: line {count}: truncated at the length limit", sys.stderr)
            sink.flush()
            if error:
                raise error
        if lacking:
            bar.close()
            print(f"note: {lacking} lines lack a number of their source (first: {first})", file=sys.stderr)
        if not typed:
            bar.close()
            seconds = time.monotonic() - began
            print(f"{count} lines in {seconds:.1f} s, {count / max(seconds, 1e-9):.0f} lines/s", file=sys.stderr)
    return 0


def _open_source(options: argparse.Namespace, stack: ExitStack) -> tuple[IO[bytes], str]:
    if options.file is None:
        return sys.stdin.buffer, "stdin"
    if options.output and options.output.exists() and options.output.samefile(options.file):
        raise NMTError(f"{options.output}: is the input; give another name to --output")
    return stack.enter_context(open(options.file, "rb")), str(options.file)
