"""A prepared corpus on disk: pieces as memory-mapped arrays, cleaned text, references, tokenizer and report.

In the way of the data: written by `prepare`, read by `batching`. A folder holds

    meta.json              format version, directions, report, sizes and SHA-256 of the other files
    tokenizer.model        the SentencePiece model
    SPLIT.SIDE.ids.npy     all pieces of one side, sentence after sentence: uint16 or uint32
    SPLIT.SIDE.starts.npy  the offset of each sentence in it, and the end: (sentences + 1) int64
    SPLIT.SIDE.txt         the cleaned lines; SPLIT.ref.txt the raw references (valid and test)

The pairs of each direction are contiguous. With several target languages every source begins with the tag of its
target (Johnson et al. 2017, section 3), in the pieces but not in the text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmt.corpus.augment import vary
from nmt.corpus.report import Report
from nmt.corpus.seeds import derive_seed
from nmt.corpus.settings import Augment, target_tags
from nmt.errors import CorpusError, TokenizerError
from nmt.files import read_text, write_text
from nmt.text.tokenizer import Tokenizer

FORMAT = 2
"""raised whenever cleaning, splitting or the layout changes, so that older caches are not used"""
NO_AUGMENT = Augment()
_CHUNK = 4096  # lines encoded at a time, to bound the memory that their ids take as Python integers


@dataclass(frozen=True, eq=False)
class Pieces:
    """One side of a split: sentence i is ids[starts[i]:starts[i + 1]], without BOS and EOS."""

    ids: NDArray[Any]
    starts: NDArray[np.int64]

    @classmethod
    def encode(cls, tokenizer: Tokenizer, lines: Sequence[str], *, sample_alpha: float = 0.0, seed: int = 0) -> Pieces:
        """Encode all lines; with `sample_alpha` > 0 a random segmentation, the same for the same `seed`."""
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
        """Number of pieces of each sentence: (sentences,)."""
        return np.diff(self.starts)

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> Pieces:
        """Return the sentences with these indices (B,), in this order."""
        lengths = self.lengths[indices]
        starts = offsets(lengths)
        return Pieces(self.ids[np.arange(starts[-1]) + np.repeat(self.starts[indices] - starts[:-1], lengths)], starts)

    def replaced(self, rows: Sequence[int], other: Pieces) -> Pieces:
        """Return the sentences with those of `other` in place of these, in order."""
        indices = np.arange(len(self))
        indices[rows] = len(self) + np.arange(len(other))
        both = np.concatenate([self.starts, self.starts[-1] + other.starts[1:]])
        return Pieces(np.concatenate([self.ids, other.ids]), both).take(indices)

    def with_tags(self, tags: Sequence[int] | NDArray[Any]) -> Pieces:
        """Return the sentences with one of `tags` (sentences,) in front of each."""
        ids = np.insert(self.ids, self.starts[:-1], np.asarray(tags, self.ids.dtype))
        return Pieces(ids, self.starts + np.arange(len(self.starts)))


def offsets(lengths: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each sentence of these lengths (B,) begins in their concatenation, and its end: (B + 1,)."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


@dataclass(frozen=True)
class Part:
    """The pairs of one direction in a split."""

    source_language: str
    target_language: str
    rows: slice

    def __str__(self) -> str:
        return f"{self.source_language}-{self.target_language}"

    def __len__(self) -> int:
        return int(self.rows.stop - self.rows.start)


def make_parts(pairs: Iterable[tuple[str, str]], sizes: Iterable[int]) -> tuple[Part, ...]:
    """Return the parts of a split, given the (source, target) languages of each direction and its number of pairs."""
    parts: list[Part] = []
    begin = 0
    for (source, target), size in zip(pairs, sizes, strict=True):
        parts.append(Part(source, target, slice(begin, begin + size)))
        begin += size
    return tuple(parts)


class Split:
    """The training, validation or test pairs, as pieces and as text."""

    def __init__(self, folder: Path, name: str, source: Pieces, target: Pieces, parts: tuple[Part, ...]) -> None:
        self.folder = folder
        self.name = name
        self.source = source
        self.target = target
        self.parts = parts
        """one per direction, in order"""
        self.target_tags = target_tags((part.source_language, part.target_language) for part in parts)
        """the target languages whose tags the sources begin with; empty where there is one target language"""

    def __len__(self) -> int:
        return len(self.source)

    def src(self, index: int) -> NDArray[Any]:
        """Source pieces of pair `index`: (S,), with the tag if any, without EOS."""
        return self.source[index]

    def tgt(self, index: int) -> NDArray[Any]:
        """Target pieces of pair `index`: (T,), without BOS and EOS."""
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
        """Target sentences exactly as in the file, for BLEU; the training split has none."""
        return read_text(self.folder / f"{self.name}.ref.txt")

    def vary(self, tokenizer: Tokenizer, seed: int, *, alpha: float = 0.0, augment: Augment = NO_AUGMENT) -> Split:
        """Return the same pairs with some of them augmented, and with `alpha` > 0 in a random segmentation.

        A pure function of text, settings and `seed`. Takes about 17 microseconds per encoded sentence (BPE 13), so it
        is done once per epoch; without `alpha` only the changed pairs are encoded.
        """
        lines = self.source_lines, self.target_lines
        changed = vary(*lines, augment, derive_seed("augment", seed))
        rows = list(range(len(self)) if alpha > 0 else changed)
        pairs = [changed.get(row) or (lines[0][row], lines[1][row]) for row in rows]
        source, target = (
            Pieces.encode(tokenizer, [pair[n] for pair in pairs], sample_alpha=alpha, seed=derive_seed(seed, side))
            for n, side in enumerate(("src", "tgt"))
        )
        if self.target_tags:
            source = source.with_tags(self.source.ids[self.source.starts[rows]])
        source, target = self.source.replaced(rows, source), self.target.replaced(rows, target)
        return Split(self.folder, self.name, source, target, self.parts)


@dataclass(frozen=True, eq=False)
class PreparedCorpus:
    """An opened corpus; the module docstring describes its folder."""

    path: Path
    tokenizer: Tokenizer
    report: Report
    train: Split
    valid: Split
    test: Split | None

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(source, target) languages of each direction."""
        return tuple((part.source_language, part.target_language) for part in self.train.parts)


@dataclass(frozen=True)
class SplitContent:
    """A split before it is written: cleaned lines, raw references (None for training), pieces and parts."""

    source_lines: list[str]
    target_lines: list[str]
    reference_lines: list[str] | None
    source: Pieces
    target: Pieces
    parts: tuple[Part, ...]


def write_prepared(folder: Path, tokenizer: Tokenizer, report: Report, splits: Mapping[str, SplitContent]) -> None:
    """Write a prepared corpus into an empty `folder`; meta.json, with the digests of the other files, comes last."""
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
    parts = {
        name: [[part.source_language, part.target_language, len(part)] for part in split.parts]
        for name, split in splits.items()
    }
    meta = {"format": FORMAT, "splits": parts, "report": report.to_dict(), "files": files}
    (folder / "meta.json").write_text(json.dumps(meta, ensure_ascii=False, indent=1), "utf-8")


def open_prepared(folder: Path) -> PreparedCorpus:
    """Open a prepared corpus; raises `CorpusError` when one of its files is missing or damaged."""
    try:
        meta = json.loads((folder / "meta.json").read_text("utf-8"))
        if meta["format"] != FORMAT:
            raise CorpusError(f"{folder}: was prepared by another version")
        for name, (size, digest) in meta["files"].items():
            path = folder / name
            if path.stat().st_size != size or _digest(path) != digest:
                raise CorpusError(f"{path}: is damaged")
        splits: dict[str, Split] = {}
        for name, parts in meta["splits"].items():
            pairs, sizes = [(source, target) for source, target, _ in parts], [size for *_, size in parts]
            splits[name] = Split(folder, name, *_open_pieces(folder, name), make_parts(pairs, sizes))
        return PreparedCorpus(
            folder,
            Tokenizer((folder / "tokenizer.model").read_bytes()),
            Report.from_dict(meta["report"]),
            splits["train"],
            splits["valid"],
            splits.get("test"),
        )
    except CorpusError:
        raise
    except (OSError, ValueError, KeyError, TypeError, TokenizerError) as error:
        raise CorpusError(f"{folder}: is not a prepared corpus, or damaged ({error})") from None


def _open_pieces(folder: Path, split: str) -> tuple[Pieces, Pieces]:
    source, target = (
        Pieces(np.load(f"{path}.ids.npy", mmap_mode="r"), np.load(f"{path}.starts.npy"))
        for path in (folder / f"{split}.{side}" for side in ("src", "tgt"))
    )
    return source, target


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
