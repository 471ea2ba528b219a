"""Parallel text to a prepared corpus: read, clean, pair, deduplicate, split, tokenise; done once, found by content.

In the way of the data: from the user's files to `nmt.prepared`. Training pairs are cleaned and filtered; validation and
test pairs are cleaned but never dropped, and their references stay as they stand in the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from nmt.cleaning import clean
from nmt.errors import CorpusError
from nmt.prepared import FORMAT, Pieces, PreparedCorpus, SplitContent, atomic_folder, open_prepared, write_prepared
from nmt.reading import ParallelText, read_all, read_bytes
from nmt.report import FileReport, Report
from nmt.special import UNK
from nmt.tokenizer import Kind, Tokenizer, derive_seed

Log = Callable[[str], None]


@dataclass(frozen=True)
class CorpusSettings:
    """Which text, and what is done to it. Plain values; errors name the settings as `data.<field>`."""

    train_src: tuple[Path, ...] = ()
    train_tgt: tuple[Path, ...] = ()
    train_tsv: tuple[Path, ...] = ()
    valid_src: tuple[Path, ...] = ()
    valid_tgt: tuple[Path, ...] = ()
    valid_tsv: tuple[Path, ...] = ()
    test_src: tuple[Path, ...] = ()
    test_tgt: tuple[Path, ...] = ()
    test_tsv: tuple[Path, ...] = ()
    tsv_columns: tuple[int, int] = (0, 1)
    """columns of source and target, from 0"""
    source_language: str = "en"
    target_language: str = "de"
    valid_size: int = 1000
    """pairs held out of the training text where no validation files are given"""
    test_size: int = 0
    """pairs held out where no test files are given"""
    split_seed: int = 1
    max_length: int = 100
    """longest training sentence, in pieces"""
    max_ratio: float = 4.0
    """largest ratio of the lengths of a training pair, in pieces, EOS counted"""
    deduplicate: bool = True
    keep_identical: bool = True
    """keep training pairs whose two sides are the same text"""
    drop_test_overlap: bool = False
    """drop training pairs whose source also stands in the validation or test text"""
    max_characters: int | None = None
    """longest training sentence in characters, judged before pieces are known"""
    max_character_ratio: float | None = None
    """largest ratio of the lengths of a training pair in characters"""
    vocabulary: int = 8000
    kind: Kind = "bpe"
    joint: bool = True
    """one vocabulary for both sides; the only one there is"""
    character_coverage: float = 1.0
    tags: tuple[str, ...] = ()
    """languages that get a target tag in the vocabulary"""

    def files(self, split: str) -> tuple[tuple[Path, ...], tuple[Path, ...], tuple[Path, ...]]:
        """Source, target and TSV files of train, valid or test."""
        src, tgt, tsv = (getattr(self, f"{split}_{side}") for side in ("src", "tgt", "tsv"))
        return src, tgt, tsv


class Pair(NamedTuple):
    """One cleaned pair, and where it comes from."""

    src: str
    tgt: str
    reference: str
    """the target as it stands in the file"""
    file: int
    line: int


def prepare(settings: CorpusSettings, cache_dir: Path, log: Log = lambda message: None) -> PreparedCorpus:
    """The corpus of `settings`, from the cache when the same text was prepared with the same settings before.

    Written whole or not at all; a damaged cache is found by its digests and made anew. Raises `CorpusError` or
    `TokenizerError` naming the file or the setting.
    """
    _check(settings)
    folder = cache_dir / f"{settings.source_language}-{settings.target_language}-{content_hash(settings)[:20]}"
    if folder.exists():
        try:
            corpus = open_prepared(folder)
            log(f"corpus: found prepared in {folder}")
            return corpus
        except CorpusError as error:
            log(f"corpus: {error}: done now")
    try:
        if folder.exists():
            shutil.rmtree(folder)
        with atomic_folder(folder) as temporary:
            _build(settings, temporary, log)
    except OSError as error:
        # Another process may have been faster: then its folder, of the same content, stands there.
        if not (folder / "meta.json").exists():
            raise CorpusError(f"{cache_dir}: cannot be written: {error.strerror or error}; set data.cache") from None
    return open_prepared(folder)


def content_hash(settings: CorpusSettings) -> str:
    """Hexadecimal name of the text (bytes, not paths or dates), the settings and the versions that made it."""
    values = dataclasses.asdict(settings)
    for split in ("train", "valid", "test"):
        for side, paths in zip(("src", "tgt", "tsv"), settings.files(split), strict=True):
            values[f"{split}_{side}"] = [hashlib.sha256(read_bytes(path)).hexdigest() for path in paths]
    values |= {"format": FORMAT, "sentencepiece": sentencepiece.__version__}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _check(settings: CorpusSettings) -> None:
    if not any(settings.files("train")):
        raise CorpusError("no training text: set data.train_src and data.train_tgt, or data.train_tsv")
    if not any(settings.files("valid")) and settings.valid_size < 1:
        raise CorpusError("no validation text: set data.valid_src and data.valid_tgt, or data.valid_size")
    if not settings.joint:
        raise CorpusError("data.joint: only a joint vocabulary is there; leave it true")


def _build(settings: CorpusSettings, folder: Path, log: Log) -> None:
    report = Report()
    train, held_out = clean_and_split(settings, report)
    log(f"corpus: training the tokenizer on {len(train):,} pairs ({settings.vocabulary:,} {settings.kind} pieces)")
    tokenizer = Tokenizer.train(
        (text for pair in train for text in (pair.src, pair.tgt)),
        vocabulary=settings.vocabulary,
        kind=settings.kind,
        languages=settings.tags,
        character_coverage=settings.character_coverage,
    )
    splits = {"train": _encode(train, tokenizer, references=False)}
    splits["train"] = filter_by_length(splits["train"], train, settings, report)
    for name, pairs in held_out.items():
        splits[name] = _encode(pairs, tokenizer, references=True)
    report.tokenizer = f"{settings.kind}, {tokenizer.vocabulary:,} pieces"
    for name, split in splits.items():
        report.sizes[name] = len(split.source)
        report.pieces[name] = len(split.source.ids) + len(split.target.ids)
        report.unknown[name] = sum(int(np.count_nonzero(side.ids == UNK)) for side in (split.source, split.target))
    write_prepared(folder, (settings.source_language, settings.target_language), tokenizer, report, splits)
    log(str(report))


def clean_and_split(settings: CorpusSettings, report: Report) -> tuple[list[Pair], dict[str, list[Pair]]]:
    """Read and clean everything; the training pairs, and the validation and (if any) test pairs by name."""
    train = _filter_text(_read(settings, "train", report), settings, report)
    _require(train, report)
    held_out = {name: _read(settings, name, report) for name in ("valid", "test") if any(settings.files(name))}
    sizes = {"valid": settings.valid_size, "test": settings.test_size}
    wanted = {name: size for name, size in sizes.items() if name not in held_out and size > 0}
    if wanted:
        train, split_off = split_by_source(train, wanted, settings.split_seed)
        for pair in (pair for pairs in split_off.values() for pair in pairs):
            report.files[pair.file].kept -= 1
            report.files[pair.file].held_out += 1
        held_out |= split_off
    train = _check_overlap(train, held_out, settings, report)
    for name, pairs in held_out.items():
        if empty := [pair for pair in pairs if not pair.src or not pair.tgt]:
            where = f"{report.files[empty[0].file].name} line {empty[0].line:,}"
            report.warnings.append(f"{name}: pairs with an empty side, kept: {len(empty):,} (first: {where})")
    _require(train, report)
    return train, {name: held_out[name] for name in ("valid", "test") if name in held_out}


def _require(train: Sequence[object], report: Report) -> None:
    if not train:
        reasons = ", ".join(f"{d.count:,} {reason}" for file in report.files for reason, d in file.dropped.items())
        raise CorpusError(f"no training pair is left after cleaning ({reasons}); give other text or change the limits")


def _read(settings: CorpusSettings, split: str, report: Report) -> list[Pair]:
    pairs: list[Pair] = []
    for text in read_all(*settings.files(split), settings.tsv_columns, split):
        number = len(report.files)
        report.files.append(FileReport(split, text.label, len(text.src), len(text.src)))
        pairs += clean_pairs(text, number)
    return pairs


def clean_pairs(text: ParallelText, file: int = 0) -> list[Pair]:
    """All pairs of a text, cleaned; `file` is its number in the report."""
    lines = enumerate(zip(text.src, text.tgt, strict=True), 1)
    return [Pair(clean(src), clean(tgt), tgt, file, line) for line, (src, tgt) in lines]


def _filter_text(pairs: list[Pair], settings: CorpusSettings, report: Report) -> list[Pair]:
    """Drop what can be judged by the text alone: empty sides, identical sides, duplicates."""
    kept: list[Pair] = []
    seen: set[tuple[str, str]] = set()
    for pair in pairs:
        file = report.files[pair.file]
        if not pair.src or not pair.tgt:
            file.drop("empty source or target", pair.line)
        elif not settings.keep_identical and pair.src == pair.tgt:
            file.drop("source and target identical", pair.line)
        elif settings.max_characters is not None and max(map(len, pair[:2])) > settings.max_characters:
            file.drop(f"longer than {settings.max_characters} characters", pair.line)
        elif settings.max_character_ratio is not None and _ratio(pair) > settings.max_character_ratio:
            file.drop(f"lengths differ by more than {settings.max_character_ratio:g} times, in characters", pair.line)
        elif settings.deduplicate and (pair.src, pair.tgt) in seen:
            file.drop("duplicate pair", pair.line)
        else:
            kept.append(pair)
            if settings.deduplicate:
                seen.add((pair.src, pair.tgt))
    return kept


def _ratio(pair: Pair) -> float:
    one, other = sorted((len(pair.src), len(pair.tgt)))
    return other / one


def split_by_source(
    pairs: Sequence[Pair], sizes: dict[str, int], seed: int
) -> tuple[list[Pair], dict[str, list[Pair]]]:
    """Hold `sizes` pairs out at random; all translations of one source stay on one side of the split.

    Depends on the text and the seed only. Raises `CorpusError` when more is asked for than there is.
    """
    if sum(sizes.values()) >= len(pairs):
        wanted = ", ".join(f"data.{name}_size={size}" for name, size in sizes.items())
        raise CorpusError(f"{wanted}: too much for {len(pairs):,} pairs; lower it or give validation files")
    counts = Counter(pair.src for pair in pairs)
    sources = list(counts)
    order = np.random.default_rng(derive_seed("split", seed)).permutation(len(sources)).tolist()
    home: dict[str, str] = {}
    for name, size in sizes.items():
        left = size
        for index in order:
            source = sources[index]
            # A source with more translations than there is room for is passed over, so that the size is met exactly.
            if source not in home and counts[source] <= left:
                home[source] = name
                left -= counts[source]
            if not left:
                break
    train = [pair for pair in pairs if pair.src not in home]
    return train, {name: [pair for pair in pairs if home.get(pair.src) == name] for name in sizes}


def _check_overlap(
    train: list[Pair], held_out: dict[str, list[Pair]], settings: CorpusSettings, report: Report
) -> list[Pair]:
    kept = train
    for name, pairs in held_out.items():
        sources = {pair.src for pair in pairs}
        overlap = [pair for pair in kept if pair.src in sources]
        if overlap and settings.drop_test_overlap:
            for pair in overlap:
                report.files[pair.file].drop(f"source also in {name}", pair.line)
            kept = [pair for pair in kept if pair.src not in sources]
        elif overlap:
            where = f"{report.files[overlap[0].file].name} line {overlap[0].line:,}"
            report.warnings.append(
                f"training pairs whose source is also in {name}: {len(overlap):,} (first: {where}); "
                "data.drop_test_overlap drops them"
            )
    return kept


def filter_by_length(
    content: SplitContent, pairs: Sequence[Pair], settings: CorpusSettings, report: Report
) -> SplitContent:
    """Drop training pairs that are too long or too unequal, in pieces."""
    src, tgt = content.source.lengths, content.target.lengths
    longer, shorter = np.maximum(src, tgt), np.minimum(src, tgt)
    too_long = longer > settings.max_length
    # EOS counts: without it "Go." against "Geh weg." would already be extreme.
    unequal: NDArray[np.bool_] = (longer + 1 > settings.max_ratio * (shorter + 1)) & ~too_long
    reasons = {
        f"longer than data.max_length={settings.max_length} pieces": too_long,
        f"lengths differ by more than data.max_ratio={settings.max_ratio:g}": unequal,
    }
    for reason, mask in reasons.items():
        for index in np.flatnonzero(mask).tolist():
            report.files[pairs[index].file].drop(reason, pairs[index].line)
    keep = ~(too_long | unequal)
    _require(np.flatnonzero(keep).tolist(), report)
    if keep.all():
        return content
    chosen = np.flatnonzero(keep).tolist()
    return SplitContent(
        [content.source_lines[i] for i in chosen],
        [content.target_lines[i] for i in chosen],
        None,
        content.source.select(keep),
        content.target.select(keep),
    )


def _encode(pairs: Sequence[Pair], tokenizer: Tokenizer, *, references: bool) -> SplitContent:
    src, tgt = [pair.src for pair in pairs], [pair.tgt for pair in pairs]
    raw = [pair.reference for pair in pairs] if references else None
    return SplitContent(src, tgt, raw, Pieces.encode(tokenizer, src), Pieces.encode(tokenizer, tgt))
