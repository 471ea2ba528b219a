"""Parallel text to a prepared corpus: read, clean, pair, deduplicate, split, tokenise; done once, found by content.

In the way of the data: from the user's files to `nmt.prepared`. Training pairs are cleaned and filtered; validation and
test pairs are cleaned but never dropped, and their references stay as they stand in the file.

Several directions make one corpus (Johnson et al. 2017): one vocabulary is learnt on the text of all; every direction
is filtered and split by itself; the pairs of one direction follow those of the other, as many as there are (a small
direction is not repeated); and where there are several target languages, each source begins with its target's tag.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from nmt.corpus.prepared import FORMAT, Pieces, PreparedCorpus, SplitContent, open_prepared, target_tags, write_prepared
from nmt.corpus.reading import ParallelText, read_all, read_bytes
from nmt.corpus.report import FileReport, Report
from nmt.errors import CorpusError
from nmt.files import atomic_folder
from nmt.text.cleaning import clean
from nmt.text.seeds import derive_seed
from nmt.text.special_ids import UNK
from nmt.text.tokenizer import Kind, Tokenizer

Log = Callable[[str], None]


@dataclass(frozen=True)
class Direction:
    """From which language to which, and the files."""

    source_language: str = "en"
    target_language: str = "de"
    train_src: tuple[Path, ...] = ()
    train_tgt: tuple[Path, ...] = ()
    train_tsv: tuple[Path, ...] = ()
    valid_src: tuple[Path, ...] = ()
    valid_tgt: tuple[Path, ...] = ()
    valid_tsv: tuple[Path, ...] = ()
    test_src: tuple[Path, ...] = ()
    test_tgt: tuple[Path, ...] = ()
    test_tsv: tuple[Path, ...] = ()

    @property
    def pair(self) -> tuple[str, str]:
        """Source and target language."""
        return self.source_language, self.target_language

    def __str__(self) -> str:
        return "-".join(self.pair)

    def files(self, split: str) -> tuple[tuple[Path, ...], tuple[Path, ...], tuple[Path, ...]]:
        """Source, target and TSV files of train, valid or test."""
        src, tgt, tsv = (getattr(self, f"{split}_{side}") for side in ("src", "tgt", "tsv"))
        return src, tgt, tsv


@dataclass(frozen=True)
class CorpusSettings(Direction):
    """Which text, and what is done to it. Plain values; errors name the settings as `data.<field>`."""

    directions: tuple[Direction, ...] = ()
    """several directions, instead of the one that stands here"""
    tsv_columns: tuple[int, int] = (0, 1)
    """columns of source and target, from 0"""
    valid_size: int = 1000
    """pairs a direction, held out of its training text where it has no validation files"""
    test_size: int = 0
    """pairs a direction, held out where it has no test files"""
    split_seed: int = 1
    max_length: int = 100
    """longest training sentence, in pieces; a tag is one"""
    max_ratio: float = 4.0
    """largest ratio of the lengths of a training pair, in pieces, EOS counted"""
    deduplicate: bool = True
    keep_identical: bool = True
    """keep training pairs whose two sides are the same text"""
    drop_test_overlap: bool = False
    """drop training pairs whose source also stands in the validation or test text of their direction, or whose target
    is a source there in the opposite one"""
    max_characters: int | None = None
    """longest training sentence in characters, judged before pieces are known"""
    max_character_ratio: float | None = None
    """largest ratio of the lengths of a training pair in characters"""
    vocabulary: int = 8000
    kind: Kind = "bpe"
    joint: bool = True
    """one vocabulary for both sides; the only one there is"""
    character_coverage: float = 1.0

    @property
    def all_directions(self) -> tuple[Direction, ...]:
        """The directions, or the only one."""
        return self.directions or (self,)

    @property
    def tags(self) -> tuple[str, ...]:
        """Languages that get a target tag in the vocabulary."""
        return target_tags(direction.pair for direction in self.all_directions)

    @property
    def opposites(self) -> dict[int, int]:
        """Of the directions by number, those whose opposite is there too, with the number of that."""
        numbers = {direction.pair: number for number, direction in enumerate(self.all_directions)}
        found = {number: numbers.get((target, source)) for (source, target), number in numbers.items()}
        return {number: other for number, other in found.items() if other is not None and other != number}

    def setting(self, direction: int, key: str) -> str:
        """The name of a direction's setting in the config, for errors."""
        return f"data.directions.{direction}.{key}" if self.directions else f"data.{key}"


class Pair(NamedTuple):
    """One cleaned pair, and where it comes from."""

    src: str
    tgt: str
    reference: str
    """the target as it stands in the file"""
    file: int
    line: int
    direction: int = 0


def prepare(settings: CorpusSettings, cache_dir: Path, log: Log = lambda message: None) -> PreparedCorpus:
    """The corpus of `settings`, from the cache when the same text was prepared with the same settings before.

    Written whole or not at all; a damaged cache is found by its digests and made anew. Raises `CorpusError` or
    `TokenizerError` naming the file or the setting.
    """
    _check(settings)
    name = "+".join(map(str, settings.all_directions))[:80]
    folder = cache_dir / f"{name}-{content_hash(settings)[:20]}"
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
    values = dataclasses.asdict(settings) | _content(settings)
    values["directions"] = [dataclasses.asdict(each) | _content(each) for each in settings.directions]
    if not settings.directions:
        del values["directions"]
    values |= {"tags": settings.tags, "format": FORMAT, "sentencepiece": sentencepiece.__version__}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _content(direction: Direction) -> dict[str, list[str]]:
    """Digests of a direction's files, by the name of their field."""
    return {
        f"{split}_{side}": [hashlib.sha256(read_bytes(path)).hexdigest() for path in paths]
        for split in ("train", "valid", "test")
        for side, paths in zip(("src", "tgt", "tsv"), direction.files(split), strict=True)
    }


def _check(settings: CorpusSettings) -> None:
    for number, direction in enumerate(settings.all_directions):
        key = partial(settings.setting, number)
        if not any(direction.files("train")):
            several = "" if settings.directions else "; or data.directions, for several pairs of languages"
            raise CorpusError(
                f"no training text: set {key('train_src')} and {key('train_tgt')}, or {key('train_tsv')}{several}"
            )
        if not any(direction.files("valid")) and settings.valid_size < 1:
            raise CorpusError(f"no validation text: set {key('valid_src')} and {key('valid_tgt')}, or data.valid_size")
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
    splits = {"train": _encode(train, tokenizer, settings, references=False)}
    splits["train"] = filter_by_length(splits["train"], train, settings, report)
    for name, pairs in held_out.items():
        splits[name] = _encode(pairs, tokenizer, settings, references=True)
    report.tokenizer = f"{settings.kind}, {tokenizer.vocabulary:,} pieces"
    for name, split in splits.items():
        report.sizes[name] = len(split.source)
        if len(settings.directions) > 1:
            names = map(str, settings.directions)
            report.directions[name] = dict(zip(names, split.sizes, strict=True))
        report.pieces[name] = len(split.source.ids) + len(split.target.ids)
        report.unknown[name] = sum(int(np.count_nonzero(side.ids == UNK)) for side in (split.source, split.target))
    languages = [direction.pair for direction in settings.all_directions]
    write_prepared(folder, languages, tokenizer, report, splits)
    log(str(report))


def clean_and_split(settings: CorpusSettings, report: Report) -> tuple[list[Pair], dict[str, list[Pair]]]:
    """Read and clean everything; the training pairs, and the validation and (if any) test pairs by name.

    Each list has the directions one after the other.
    """
    train: list[Pair] = []
    held_out: dict[str, list[Pair]] = {}
    drawn: list[Pair] = []
    for number, direction in enumerate(settings.all_directions):
        read = _read(settings, number, "train", report)
        kept = _filter_text(read, settings, report)
        _require(kept, read, settings, report)
        own = {name: _read(settings, number, name, report) for name in ("valid", "test") if any(direction.files(name))}
        sizes = {"valid": settings.valid_size, "test": settings.test_size}
        wanted = {name: size for name, size in sizes.items() if name not in own and size > 0}
        if wanted:
            # One seed for all: directions that share their source text hold the same sentences out.
            of = f" of {direction}" if settings.directions else ""
            kept, split_off = split_by_source(kept, wanted, settings.split_seed, of)
            for pair in (pair for pairs in split_off.values() for pair in pairs):
                report.files[pair.file].kept -= 1
                report.files[pair.file].held_out += 1
                drawn.append(pair)
            own |= split_off
        train += kept
        for name, pairs in own.items():
            held_out.setdefault(name, []).extend(pairs)
    everything = train
    train = _drop_opposites(train, drawn, settings, report)
    train = _check_overlap(train, held_out, settings, report)
    for name, pairs in held_out.items():
        if empty := [pair for pair in pairs if not pair.src or not pair.tgt]:
            where = f"{report.files[empty[0].file].name} line {empty[0].line:,}"
            report.warnings.append(f"{name}: pairs with an empty side, kept: {len(empty):,} (first: {where})")
    _require(train, everything, settings, report)
    return train, {name: held_out[name] for name in ("valid", "test") if name in held_out}


def _require(kept: Iterable[Pair], read: Sequence[Pair], settings: CorpusSettings, report: Report) -> None:
    """Refuse it when nothing was kept of a direction that has training pairs in `read`."""
    missing = {pair.direction for pair in read} - {pair.direction for pair in kept}
    if missing:
        number = min(missing)
        files = sorted({pair.file for pair in read if pair.direction == number})
        reasons = ", ".join(f"{d.count:,} {reason}" for n in files for reason, d in report.files[n].dropped.items())
        of = f" of {settings.directions[number]}" if settings.directions else ""
        raise CorpusError(
            f"no training pair{of} is left after cleaning ({reasons}); give other text or change the limits"
        )


def _read(settings: CorpusSettings, direction: int, split: str, report: Report) -> list[Pair]:
    pairs: list[Pair] = []
    files = settings.all_directions[direction].files(split)
    for text in read_all(*files, settings.tsv_columns, settings.setting(direction, split)):
        number = len(report.files)
        report.files.append(FileReport(split, text.label, len(text.src), len(text.src)))
        pairs += clean_pairs(text, number, direction)
    return pairs


def clean_pairs(text: ParallelText, file: int = 0, direction: int = 0) -> list[Pair]:
    """All pairs of a text, cleaned; `file` is its number in the report."""
    lines = enumerate(zip(text.src, text.tgt, strict=True), 1)
    return [Pair(clean(src), clean(tgt), tgt, file, line, direction) for line, (src, tgt) in lines]


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
    pairs: Sequence[Pair], sizes: dict[str, int], seed: int, of: str = ""
) -> tuple[list[Pair], dict[str, list[Pair]]]:
    """Hold `sizes` pairs out at random; all translations of one source stay on one side of the split.

    Depends on the text and the seed only. Raises `CorpusError` when more is asked for than there is; `of` says of what.
    """
    if sum(sizes.values()) >= len(pairs):
        wanted = ", ".join(f"data.{name}_size={size}" for name, size in sizes.items())
        raise CorpusError(f"{wanted}: too much for {len(pairs):,} pairs{of}; lower it or give validation files")
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


def _drop_opposites(train: list[Pair], drawn: Sequence[Pair], settings: CorpusSettings, report: Report) -> list[Pair]:
    """Drop the training pairs that would teach a pair drawn for the validation or test of the opposite direction."""
    known, opposites = _sources(drawn), settings.opposites
    if not opposites:
        return train
    kept: list[Pair] = []
    for pair in train:
        if pair.tgt in known.get(opposites.get(pair.direction), ()):
            report.files[pair.file].drop("held out in the opposite direction", pair.line)
        else:
            kept.append(pair)
    return kept


def _sources(pairs: Iterable[Pair]) -> dict[int | None, set[str]]:
    """The source sentences of each direction."""
    found: dict[int | None, set[str]] = {}
    for pair in pairs:
        found.setdefault(pair.direction, set()).add(pair.src)
    return found


def _check_overlap(
    train: list[Pair], held_out: dict[str, list[Pair]], settings: CorpusSettings, report: Report
) -> list[Pair]:
    """Count, or drop, training pairs with a source of the validation or test text.

    A sentence that is translated between two other languages is another matter and stays.
    """
    opposites = settings.opposites
    for name, pairs in held_out.items():
        sources = _sources(pairs)
        overlaps: dict[str, list[Pair]] = {}
        kept: list[Pair] = []
        for pair in train:
            if pair.src in sources.get(pair.direction, ()):
                overlaps.setdefault(f"source also in {name}", []).append(pair)
            elif pair.tgt in sources.get(opposites.get(pair.direction), ()):
                overlaps.setdefault(f"target also in {name} of the opposite direction", []).append(pair)
            else:
                kept.append(pair)
        if settings.drop_test_overlap:
            for reason, pairs_found in overlaps.items():
                for pair in pairs_found:
                    report.files[pair.file].drop(reason, pair.line)
            train = kept
            continue
        for reason, pairs_found in overlaps.items():
            first = pairs_found[0]
            report.warnings.append(
                f"training pairs whose {reason.replace(' also', ' is also')}: {len(pairs_found):,} "
                f"(first: {report.files[first.file].name} line {first.line:,}); data.drop_test_overlap drops them"
            )
    return train


def filter_by_length(
    content: SplitContent, pairs: Sequence[Pair], settings: CorpusSettings, report: Report
) -> SplitContent:
    """Drop training pairs that are too long or too unequal, in pieces, the tag of the source included."""
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
    if keep.all():
        return content
    chosen = np.flatnonzero(keep).tolist()
    left = [pairs[i] for i in chosen]
    _require(left, pairs, settings, report)
    return SplitContent(
        [content.source_lines[i] for i in chosen],
        [content.target_lines[i] for i in chosen],
        None,
        content.source.select(keep),
        content.target.select(keep),
        _sizes(left, settings),
    )


def _sizes(pairs: Iterable[Pair], settings: CorpusSettings) -> tuple[int, ...]:
    """Number of pairs of each direction."""
    counts = Counter(pair.direction for pair in pairs)
    return tuple(counts[number] for number in range(len(settings.all_directions)))


def _encode(pairs: Sequence[Pair], tokenizer: Tokenizer, settings: CorpusSettings, *, references: bool) -> SplitContent:
    src, tgt = [pair.src for pair in pairs], [pair.tgt for pair in pairs]
    raw = [pair.reference for pair in pairs] if references else None
    source, target = Pieces.encode(tokenizer, src), Pieces.encode(tokenizer, tgt)
    if settings.tags:
        tags = [tokenizer.tag(direction.target_language) for direction in settings.all_directions]
        source = source.with_tags([tags[pair.direction] for pair in pairs])
    return SplitContent(src, tgt, raw, source, target, _sizes(pairs, settings))
