"""Speed of preparing a corpus: pairs/s of `nmt.corpus.prepare`, vocabulary included.

`ratio` is the share of that time that encoding the text with the trained tokenizer takes by itself.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nmt.corpus.prepare import prepare
from tests.benchmarks import material
from tests.benchmarks.measure import emit, seconds


def measure(pairs: int, corpora: Path | None, rounds: int) -> tuple[int, float, float]:
    """Return how many pairs there were, the seconds to prepare them, and those to encode them."""
    with tempfile.TemporaryDirectory() as name:
        data = material.corpus_config(Path(name), corpora, pairs).data

        def anew() -> None:
            shutil.rmtree(data.cache, ignore_errors=True)
            prepare(data, data.cache)

        whole = seconds(rounds, anew)
        corpus = prepare(data, data.cache)
        lines = corpus.train.source_lines + corpus.train.target_lines
        return len(lines) // 2, whole, seconds(rounds, lambda: corpus.tokenizer.encode_many(lines))


def main(argv: Sequence[str]) -> None:
    """The benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks prepare", description=__doc__)
    parser.add_argument("--corpora", type=Path, help="folder with multi30k (default: random words)")
    parser.add_argument("--pairs", type=int, default=29000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    pairs, whole, encoding = measure(options.pairs, options.corpora, options.rounds)
    emit("prepare", {"pairs": pairs}, pairs / whole, "pairs/s", encoding / whole, "encoding alone")
