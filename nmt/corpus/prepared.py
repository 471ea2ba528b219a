"""A prepared corpus on disk: pieces as memory-mapped arrays, cleaned text, references, tokenizer and report.

In the way of the data: between `nmt.corpus`, which makes it, and `nmt.batching`, which reads it. A folder holds

    meta.json              format version, sizes and SHA-256 of the other files, report
    tokenizer.model        the SentencePiece model
    SPLIT.SIDE.ids.npy     all pieces of a side, one sentence after the other: uint16 or uint32
    SPLIT.SIDE.starts.npy  where each sentence begins, and the end: (sentences + 1) int64
    SPLIT.SIDE.txt         the cleaned lines; SPLIT.ref.txt the raw references (valid and test)

With several directions the pairs of each stand together, one direction after the other; with several target languages
every source begins with the tag of its target (Johnson et al. 2017, section 3), in the pieces, not in the text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmt.corpus.report import Report
from nmt.errors import CorpusError, TokenizerError
from nmt.files import read_text, write_text
from nmt.text.seeds import derive_seed
from nmt.text.tokenizer import Tokenizer

FORMAT = 1
"""raised whenever cleaning, splitting or the layout change: old caches are then not found any more"""
_CHUNK = 4096  # lines encoded at a time: bounds the Python integers alive at once


def target_tags(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The languages that need a tag, for these (source, target): all targets where there are several, else none."""
    targets = tuple(dict.fromkeys(target for _, target in pairs))
    return targets if len(targets) > 1 else ()


@dataclass(frozen=True, eq=False)
class Pieces:
    """One side of a split: sentence i is ids[starts[i]:starts[i + 1]], without BOS and EOS."""

    ids: NDArray[Any]
    starts: NDArray[np.int64]

    @classmethod
    def encode(cls, tokenizer: Tokenizer, lines: Sequence[str], *, sample_alpha: float = 0.0, seed: int = 0) -> Pieces:
        """Encode all lines; with `sample_alpha` a random segmentation, the same for the same `seed`."""
        dtype = np.uint16 if tokenizer.vocabulary <= 1 << 16 else np.uint32
        lengths = np.zeros(len(lines) + 1, np.int64)
        chunks: list[NDArray[Any]] = []
        for begin in range(0, len(lines), _CHUNK):
            part = tokenizer.encode_many(
                lines[begin : begin + _CHUNK], sample_alpha=sample_alpha, seed=derive_seed(seed, begin)
            )
            lengths[begin + 1 : begin + 1 + len(part)] = [len(ids) for ids in part]
            chunks.append(np.fromiter(chain.from_iterable(part), dtype))
        return cls(np.concatenate(chunks) if chunks else np.zeros(0, dtype), np.cumsum(lengths))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> NDArray[Any]:
        return self.ids[self.starts[index] : self.starts[index + 1]]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(sentences,) number of pieces of each."""
        return np.diff(self.starts)

    def select(self, keep: NDArray[np.bool_]) -> Pieces:
        """The sentences where `keep` (sentences,) is true."""
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths[keep])])
        return Pieces(np.asarray(self.ids)[np.repeat(keep, self.lengths)], starts)

    def with_tags(self, tags: Sequence[int] | NDArray[Any]) -> Pieces:
        """The same sentences, each behind its tag: one more piece; `tags` (sentences,)."""
        ids = np.insert(self.ids, self.starts[:-1], np.asarray(tags, self.ids.dtype))
        return Pieces(ids, self.starts + np.arange(len(self.starts)))


@dataclass(frozen=True)
class Part:
    """Where the pairs of one direction stand in a split."""

    source_language: str
    target_language: str
    rows: slice

    def __str__(self) -> str:
        return f"{self.source_language}-{self.target_language}"

    def __len__(self) -> int:
        return int(self.rows.stop - self.rows.start)


def make_parts(pairs: Iterable[tuple[str, str]], sizes: Iterable[int]) -> tuple[Part, ...]:
    """The parts of a split: for each direction its languages (source, target) and its number of pairs."""
    parts: list[Part] = []
    begin = 0
    for (source, target), size in zip(pairs, sizes, strict=True):
        parts.append(Part(source, target, slice(begin, begin + size)))
        begin += size
    return tuple(parts)


class Split:
    """The training, validation or test pairs: pieces, and the text they stand for."""

    def __init__(self, folder: Path, name: str, source: Pieces, target: Pieces, parts: tuple[Part, ...]) -> None:
        self.folder = folder
        self.name = name
        self.source = source
        self.target = target
        self.parts = parts
        """the directions, in order; most corpora have one"""
        self.target_tags = target_tags((part.source_language, part.target_language) for part in parts)
        """the target languages whose tags begin the sources; none where there is one target only"""

    def __len__(self) -> int:
        return len(self.source)

    def src(self, index: int) -> NDArray[Any]:
        """(S,) source pieces of pair `index`, the tag included, without EOS."""
        return self.source[index]

    def tgt(self, index: int) -> NDArray[Any]:
        """(T,) target pieces of pair `index`, without BOS and EOS."""
        return self.target[index]

    @property
    def lengths(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number of source and of target pieces of each pair: two arrays (pairs,)."""
        return self.source.lengths, self.target.lengths

    @cached_property
    def source_lines(self) -> list[str]:
        """Cleaned source sentences."""
        return read_text(self.folder / f"{self.name}.src.txt")

    @cached_property
    def target_lines(self) -> list[str]:
        """Cleaned target sentences."""
        return read_text(self.folder / f"{self.name}.tgt.txt")

    @cached_property
    def reference_lines(self) -> list[str]:
        """Target sentences as they stand in the file, for BLEU; the training split has none."""
        return read_text(self.folder / f"{self.name}.ref.txt")

    def sample(self, tokenizer: Tokenizer, alpha: float, seed: int) -> Split:
        """The same pairs cut into pieces at random, behind the same tags; a pure function of text, `alpha` and `seed`.

        Costs about 17 microseconds a sentence, with BPE 13; hold on to the result for an epoch.
        """
        source, target = (
            Pieces.encode(tokenizer, lines, sample_alpha=alpha, seed=derive_seed(seed, side))
            for side, lines in (("src", self.source_lines), ("tgt", self.target_lines))
        )
        if self.target_tags:
            source = source.with_tags(self.source.ids[self.source.starts[:-1]])
        sampled = Split(self.folder, self.name, source, target, self.parts)
        sampled.__dict__.update(source_lines=self.source_lines, target_lines=self.target_lines)  # read once
        return sampled


@dataclass(frozen=True, eq=False)
class PreparedCorpus:
    """What training needs of a corpus; see the module's docstring for the folder."""

    path: Path
    pairs: tuple[tuple[str, str], ...]
    """(source, target) languages of each direction"""
    tokenizer: Tokenizer
    report: Report
    train: Split
    valid: Split
    test: Split | None


@dataclass(frozen=True)
class SplitContent:
    """A split before it is written: cleaned lines, raw references (none for training), pieces, pairs a direction."""

    source_lines: list[str]
    target_lines: list[str]
    reference_lines: list[str] | None
    source: Pieces
    target: Pieces
    sizes: tuple[int, ...]


def write_prepared(
    folder: Path,
    pairs: Sequence[tuple[str, str]],
    tokenizer: Tokenizer,
    report: Report,
    splits: dict[str, SplitContent],
) -> None:
    """Fill an empty `folder`; meta.json, with the digests of all else, comes last.

    `pairs`: the languages (source, target) of each direction.
    """
    (folder / "tokenizer.model").write_bytes(tokenizer.to_bytes())
    for name, split in splits.items():
        sides = (("src", split.source, split.source_lines), ("tgt", split.target, split.target_lines))
        for side, pieces, lines in sides:
            np.save(folder / f"{name}.{side}.ids.npy", pieces.ids)
            np.save(folder / f"{name}.{side}.starts.npy", pieces.starts)
            write_text(folder / f"{name}.{side}.txt", lines)
        if split.reference_lines is not None:
            write_text(folder / f"{name}.ref.txt", split.reference_lines)
    files = {path.name: [path.stat().st_size, _digest(path)] for path in sorted(folder.iterdir())}
    meta = {
        "format": FORMAT,
        **_name_directions(pairs, splits),
        "splits": list(splits),
        "report": report.to_dict(),
        "files": files,
    }
    (folder / "meta.json").write_text(json.dumps(meta, ensure_ascii=False, indent=1), "utf-8")


def open_prepared(folder: Path) -> PreparedCorpus:
    """Open a prepared corpus; raises `CorpusError` when a file of it is missing or not as it was written."""
    try:
        meta = json.loads((folder / "meta.json").read_text("utf-8"))
        if meta["format"] != FORMAT:
            raise CorpusError(f"{folder}: prepared by another version; prepare it again")
        for name, (size, digest) in meta["files"].items():
            path = folder / name
            if path.stat().st_size != size or _digest(path) != digest:
                raise CorpusError(f"{path}: damaged; remove {folder} to prepare the corpus again")
        several = meta.get("directions", [])
        pairs = tuple((source, target) for source, target in ([d["languages"] for d in several] or [meta["languages"]]))
        splits: dict[str, Split] = {}
        for name in meta["splits"]:
            source, target = _open_pieces(folder, name)
            sizes = [direction["pairs"][name] for direction in several] or [len(source)]
            splits[name] = Split(folder, name, source, target, make_parts(pairs, sizes))
        return PreparedCorpus(
            folder,
            pairs,
            Tokenizer((folder / "tokenizer.model").read_bytes()),
            Report.from_dict(meta["report"]),
            splits["train"],
            splits["valid"],
            splits.get("test"),
        )
    except CorpusError:
        raise
    except (OSError, ValueError, KeyError, TypeError, TokenizerError) as error:
        raise CorpusError(f"{folder}: not a prepared corpus or damaged ({error}); prepare it again") from None


def _name_directions(pairs: Sequence[tuple[str, str]], splits: dict[str, SplitContent]) -> dict[str, Any]:
    if len(pairs) == 1:
        return {"languages": pairs[0]}
    return {
        "directions": [
            {"languages": pair, "pairs": {name: split.sizes[number] for name, split in splits.items()}}
            for number, pair in enumerate(pairs)
        ]
    }


def _open_pieces(folder: Path, split: str) -> Iterator[Pieces]:
    for side in ("src", "tgt"):
        ids = np.load(folder / f"{split}.{side}.ids.npy", mmap_mode="r")
        yield Pieces(ids, np.load(folder / f"{split}.{side}.starts.npy"))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
