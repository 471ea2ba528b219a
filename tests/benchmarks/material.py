"""Models and text for the benchmarks: those that the user names, or random ones of realistic sizes."""

from __future__ import annotations

import gzip
import inspect
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from math import ceil
from pathlib import Path
from typing import Any

import torch

from nmt.config import CONFIGS, Config, ModelConfig, load_config
from nmt.export import export
from nmt.model.seq2seq import Seq2Seq
from nmt.search.engine import Request, SearchOptions
from nmt.text.special_ids import EOS
from nmt.text.tokenizer import Tokenizer
from nmt.translator import Translator

VOCABULARY = 8000


@dataclass(frozen=True)
class RandomRun:
    """A model with random weights, in the form that an export takes."""

    model: Seq2Seq
    tokenizer: Tokenizer
    info: Mapping[str, Any] = field(default_factory=dict)
    samples: Sequence[tuple[str, ...]] = ()


@cache
def word_tokenizer(vocabulary: int) -> Tokenizer:
    """A tokenizer with one piece for each of the words w0, w1, ...: made at once, whatever the size."""
    return Tokenizer.train([f"w{n}" for n in range(vocabulary)], vocabulary=vocabulary, kind="word")


def exported(model: Path | None, dtype: str, folder: Path, vocabulary: int = VOCABULARY) -> tuple[Path, ModelConfig]:
    """Return an exported file and its model's config: `model`, an export of that run folder, or of random weights.

    A file does not say which config it was trained with; it is taken for the default one.
    """
    if model is not None and not model.is_dir():
        return model, ModelConfig()
    path = folder / f"{model.name if model else f'random-{vocabulary}'}-{dtype}.pt"
    if model is None:
        config = ModelConfig()
        torch.manual_seed(1)
        run: Any = RandomRun(Seq2Seq(config, vocabulary).eval(), word_tokenizer(vocabulary))
    else:
        from nmt.training.run_folder import load_run

        run = load_run(model)
        config = run.config.model
    if not path.exists():
        export(run, path, dtype)
    return path, config


def load(path: Path, threads: int, engines: int | None, rows: int) -> Translator:
    """Load an exported file to decode `rows` hypotheses together; older versions count slots of 5 rows."""
    known = inspect.signature(Translator.load).parameters
    more: dict[str, Any] = {"rows": rows} if "rows" in known else {"slots": max(1, rows // 5)}
    if engines is not None:
        if "engines" not in known:
            raise SystemExit("this version has one engine; leave out --engines")
        more["engines"] = engines
    return Translator.load(path, "cpu", threads=threads, **more)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, plain or gzip."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file]


def sentence_length(draw: random.Random) -> int:
    """Draw the length of a sentence as in everyday text: 3 to 40 pieces, with a median of about 14."""
    return min(40, max(3, round(draw.lognormvariate(2.6, 0.5))))


def random_requests(count: int, vocabulary: int, beam: int, length: int | None = None) -> list[Request]:
    """Return requests of random pieces, whose translations have a forced length of 0.7 to 1.3 times the source's.

    With random weights no sentence would end by itself, so minimum and maximum length are set to the same.
    `length`: the number of source pieces of all of them, and of target pieces.
    """
    draw = random.Random(1)
    requests = []
    for key in range(count):
        source = length or sentence_length(draw)
        target = length or ceil(source * (0.7 + 0.6 * draw.random()))
        options = SearchOptions(beam=beam, min_length=target, max_length=target)
        requests.append(Request(key, (*draw.choices(range(4, vocabulary), k=source - 1), EOS), options))
    return requests


def text_requests(translator: Translator, lines: Sequence[str], beam: int) -> list[Request]:
    """Return the requests of these lines, with the model's search defaults and this beam."""
    options = translator.search_options(beam=beam)
    return [request for line in lines for request in translator.plan(line, options).requests]


def corpus_config(folder: Path, corpora: Path | None, pairs: int, overrides: Sequence[tuple[str, str]] = ()) -> Config:
    """Return the config `multi30k-en-de` for a copy of its first `pairs` in `folder`, with 8 for validation.

    corpora: the folder that has `multi30k`; without it, the text is random words with as many pieces.
    """
    if corpora is not None:
        sides = [read_lines(corpora / "multi30k" / f"train.{language}.gz") for language in ("en", "de")]
    else:
        sides = random_text(pairs + 8)
    for name, lines in (("valid", slice(0, 8)), ("train", slice(8, 8 + pairs))):
        for side, text in zip(("src", "tgt"), sides, strict=True):
            (folder / f"{name}.{side}").write_text("".join(f"{line}\n" for line in text[lines]), encoding="utf-8")
    values = {
        "data.root": str(folder),
        "data.cache": str(folder / "cache"),
        "data.train_src": "[train.src]",
        "data.train_tgt": "[train.tgt]",
        "data.valid_src": "valid.src",
        "data.valid_tgt": "valid.tgt",
        "data.test_src": "null",
        "data.test_tgt": "null",
    }
    return load_config(CONFIGS / "multi30k-en-de.yaml", [*values.items(), *overrides])


def random_text(pairs: int) -> list[list[str]]:
    """Return source and target lines of random words, 20,000 a side, the n-th with a frequency of 1 / n (Zipf)."""
    draw = random.Random(1)
    consonants, vowels = "bcdfghjklmnpqrstvwxz", "aeiou"

    def word() -> str:
        return "".join(draw.choice(consonants) + draw.choice(vowels) for _ in range(draw.choice((1, 2, 2, 3))))

    sides: list[list[str]] = [[], []]
    words = [[word() for _ in range(20000)] for _ in sides]
    cumulative = list(accumulate(1 / n for n in range(1, 20001)))
    for _ in range(pairs):
        length = sentence_length(draw)
        for side, choice in zip(sides, words, strict=True):
            size = max(2, round(length * draw.uniform(0.8, 1.1)))
            side.append(" ".join(draw.choices(choice, cum_weights=cumulative, k=size)))
    return sides
