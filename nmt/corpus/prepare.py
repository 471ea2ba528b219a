"""Prepare a corpus from parallel text: read, clean, filter, split, tokenise; done once and cached by content.

In the way of the data: from the user's files to `prepared`. Training pairs are cleaned and filtered. Validation and
test pairs are cleaned but never dropped, and their references are kept exactly as in the file.

Several directions make one corpus (Johnson et al. 2017). One vocabulary is trained on the text of all directions. Each
direction is filtered and split separately, and its pairs follow those of the previous one, without oversampling small
directions. Where there are several target languages, each source begins with the tag of its target.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from nmt.corpus.augment import vary
from nmt.corpus.prepared import (
    FORMAT,
    Part,
    Pieces,
    PreparedCorpus,
    SplitContent,
    make_parts,
    open_prepared,
    write_prepared,
)
from nmt.corpus.reading import ParallelText, read_all, read_bytes
from nmt.corpus.report import FileReport, Report
from nmt.corpus.seeds import derive_seed
from nmt.corpus.settings import CorpusSettings, Direction
from nmt.errors import CorpusError
from nmt.files import atomic_folder
from nmt.text.cleaning import clean
from nmt.text.special_ids import UNK
from nmt.text.tokenizer import Tokenizer

Log = Callable[[str], None]
Reject = Callable[[str, str], str]
"""the reason to drop a training pair of this cleaned source and target, or an empty string"""


class Pair(NamedTuple):
    """One cleaned pair and its origin."""

    src: str
    tgt: str
    reference: str
    """the target exactly as in the file"""
    file: int
    """index into `Report.files`"""
    line: int
    """line number in the file, from 1"""
    direction: int = 0
    """index into `CorpusSettings.all_directions`"""


def prepare(settings: CorpusSettings, cache_dir: Path, log: Log = lambda message: None) -> PreparedCorpus:
    """Return the corpus of `settings`, from the cache if the same text was prepared with the same settings before.

    The cache is written whole or not at all. A damaged one is detected by its digests and made again. Raises
    `CorpusError` or `TokenizerError` naming the file or the setting.
    """
    _check(settings)
    name = "+".join(direction.name for direction in settings.all_directions)[:80]
    folder = cache_dir / f"{name}-{content_hash(settings)[:20]}"
    if folder.exists():
        try:
            corpus = open_prepared(folder)
            log(f"corpus: found prepared in {folder}")
            return corpus
        except CorpusError as error:
            log(f"corpus: {error}; preparing it again")
    try:
        if folder.exists():
            shutil.rmtree(folder)
        with atomic_folder(folder) as temporary:
            _build(settings, temporary, log)
    except OSError as error:
        # Another process may have prepared the same corpus first; its folder has the same content.
        if not (folder / "meta.json").exists():
            raise CorpusError(f"{cache_dir}: cannot be written: {error.strerror or error}; set data.cache") from None
    return open_prepared(folder)


def content_hash(settings: CorpusSettings) -> str:
    """Return the hexadecimal digest of the text (bytes, not paths or dates), the settings and the versions used.

    Raises `CorpusError` for a file that is missing or cannot be read.
    """
    text = {*Direction.model_fields, "directions", "root", "augment"}
    values: dict[str, Any] = {name: getattr(settings, name) for name in CorpusSettings.model_fields if name not in text}
    values["directions"] = [
        [direction.pair, [[_digest(path, settings.root) for path in paths] for paths in _all_files(settings, number)]]
        for number, direction in enumerate(settings.all_directions)
    ]
    values["augment"] = settings.augment.model_dump()  # the vocabulary depends on it
    values |= {"format": FORMAT, "sentencepiece": sentencepiece.__version__}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _all_files(settings: CorpusSettings, direction: int) -> list[tuple[Path, ...]]:
    return [paths for split in ("train", "valid", "test") for paths in settings.files(direction, split)]


def _digest(path: Path, root: Path) -> str:
    hint = f"check the name and data.root ({root}); `python -m nmt.data fetch` downloads public corpora"
    return hashlib.sha256(read_bytes(path, hint)).hexdigest()


def _check(settings: CorpusSettings) -> None:
    for number in range(len(settings.all_directions)):
        key = partial(settings.setting, number)
        if not any(settings.files(number, "train")):
            several = "" if settings.directions else "; or data.directions, for several language pairs"
            raise CorpusError(
                f"no training text: set {key('train_src')} and {key('train_tgt')}, or {key('train_tsv')}{several}"
            )
        if not any(settings.files(number, "valid")) and settings.valid_size < 1:
            raise CorpusError(f"no validation text: set {key('valid_src')} and {key('valid_tgt')}, or data.valid_size")


def _build(settings: CorpusSettings, folder: Path, log: Log) -> None:
    report = Report()
    train, held_out = clean_and_split(settings, report)
    log(f"corpus: training the tokenizer on {len(train):,} pairs ({settings.vocabulary:,} {settings.units} pieces)")
    tokenizer = Tokenizer.train(
        _texts(train, settings),
        vocabulary=settings.vocabulary,
        kind=settings.units,
        languages=settings.tags,
        character_coverage=settings.character_coverage,
    )
    splits = {"train": _encode(train, tokenizer, settings, references=False)}
    splits["train"] = filter_by_length(splits["train"], train, settings, report)
    for name, pairs in held_out.items():
        splits[name] = _encode(pairs, tokenizer, settings, references=True)
    report.tokenizer = f"{settings.units}, {tokenizer.vocabulary:,} pieces"
    for name, split in splits.items():
        report.sizes[name] = len(split.source)
        if len(settings.directions) > 1:
            report.directions[name] = {str(part): len(part) for part in split.parts}
        report.pieces[name] = len(split.source.ids) + len(split.target.ids)
        report.unknown[name] = sum(int(np.count_nonzero(side.ids == UNK)) for side in (split.source, split.target))
    write_prepared(folder, tokenizer, report, splits)
    log(str(report))


def _texts(train: Sequence[Pair], settings: CorpusSettings) -> Iterable[str]:
    """Yield the text of an epoch, on which the tokenizer is trained: so lower case has pieces of its own."""
    source, target = [pair.src for pair in train], [pair.tgt for pair in train]
    changed = vary(source, target, settings.augment, derive_seed("tokenizer", settings.split_seed))
    for n, pair in enumerate(zip(source, target, strict=True)):
        yield from changed.get(n, pair)


def clean_and_split(
    settings: CorpusSettings,
    report: Report,
    *,
    tsv_columns: tuple[int, int] = (0, 1),
    reject: Reject = lambda src, tgt: "",
) -> tuple[list[Pair], dict[str, list[Pair]]]:
    """Read and clean all text; return the training pairs, and the validation and test pairs (if any) by name.

    Each list has the directions in order. `tsv_columns` are the columns of source and target, from 0; `reject` filters
    the training pairs beyond what `settings` says.
    """
    train: list[Pair] = []
    held_out: dict[str, list[Pair]] = {}
    drawn: list[Pair] = []
    for number, direction in enumerate(settings.all_directions):
        read = _read(settings, number, "train", report, tsv_columns)
        kept = _filter_text(read, settings, report, reject)
        _require(kept, read, settings, report)
        own = {
            name: _read(settings, number, name, report)
            for name in ("valid", "test")
            if any(settings.files(number, name))
        }
        sizes = {"valid": settings.valid_size, "test": settings.test_size}
        wanted = {name: size for name, size in sizes.items() if name not in own and size > 0}
        if wanted:
            # One seed for all directions, so that those with the same source text hold out the same sentences.
            of = f" of {direction.name}" if settings.directions else ""
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
    """Raise `CorpusError` if nothing was kept of a direction that has training pairs in `read`."""
    missing = {pair.direction for pair in read} - {pair.direction for pair in kept}
    if missing:
        number = min(missing)
        files = sorted({pair.file for pair in read if pair.direction == number})
        reasons = ", ".join(f"{d.count:,} {reason}" for n in files for reason, d in report.files[n].dropped.items())
        of = f" of {settings.directions[number].name}" if settings.directions else ""
        raise CorpusError(
            f"no training pair{of} is left after filtering ({reasons}); give other text or change the limits"
        )


def _read(
    settings: CorpusSettings, direction: int, split: str, report: Report, tsv_columns: tuple[int, int] = (0, 1)
) -> list[Pair]:
    pairs: list[Pair] = []
    for text in read_all(*settings.files(direction, split), tsv_columns, settings.setting(direction, split)):
        number = len(report.files)
        report.files.append(FileReport(split, text.label, len(text.src), len(text.src)))
        pairs += clean_pairs(text, number, direction)
    return pairs


def clean_pairs(text: ParallelText, file: int = 0, direction: int = 0) -> list[Pair]:
    """Return all pairs of a text, cleaned; `file` is its index in the report."""
    lines = enumerate(zip(text.src, text.tgt, strict=True), 1)
    return [Pair(clean(src), clean(tgt), tgt, file, line, direction) for line, (src, tgt) in lines]


def _filter_text(pairs: list[Pair], settings: CorpusSettings, report: Report, reject: Reject) -> list[Pair]:
    """Drop the pairs that can be judged by their text alone, before there are pieces."""
    kept: list[Pair] = []
    seen: set[tuple[str, str]] = set()
    for pair in pairs:
        file = report.files[pair.file]
        if not pair.src or not pair.tgt:
            file.drop("empty source or target", pair.line)
        elif reason := reject(pair.src, pair.tgt):
            file.drop(reason, pair.line)
        elif settings.deduplicate and (pair.src, pair.tgt) in seen:
            file.drop("duplicate pair", pair.line)
        else:
            kept.append(pair)
            if settings.deduplicate:
                seen.add((pair.src, pair.tgt))
    return kept


def split_by_source(
    pairs: Sequence[Pair], sizes: dict[str, int], seed: int, of: str = ""
) -> tuple[list[Pair], dict[str, list[Pair]]]:
    """Hold out `sizes` pairs at random; all translations of one source stay in the same split.

    Depends on the text and the seed only. Raises `CorpusError` if `sizes` leave no training pairs; `of` names the
    direction in that error.
    """
    if sum(sizes.values()) >= len(pairs):
        wanted = ", ".join(f"data.{name}_size={size}" for name, size in sizes.items())
        raise CorpusError(f"{wanted}: too much for {len(pairs):,} pairs{of}; hold out fewer")
    counts = Counter(pair.src for pair in pairs)
    sources = list(counts)
    order = np.random.default_rng(derive_seed("split", seed)).permutation(len(sources)).tolist()
    home: dict[str, str] = {}
    for name, size in sizes.items():
        left = size
        for index in order:
            source = sources[index]
            # Skip a source with more translations than are still needed, so that the size is met exactly.
            if source not in home and counts[source] <= left:
                home[source] = name
                left -= counts[source]
            if not left:
                break
    train = [pair for pair in pairs if pair.src not in home]
    return train, {name: [pair for pair in pairs if home.get(pair.src) == name] for name in sizes}


def _drop_opposites(train: list[Pair], drawn: Sequence[Pair], settings: CorpusSettings, report: Report) -> list[Pair]:
    """Drop training pairs that are, reversed, a pair held out of the opposite direction."""
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
    """Return the source sentences of each direction."""
    found: dict[int | None, set[str]] = {}
    for pair in pairs:
        found.setdefault(pair.direction, set()).add(pair.src)
    return found


def _check_overlap(
    train: list[Pair], held_out: dict[str, list[Pair]], settings: CorpusSettings, report: Report
) -> list[Pair]:
    """Count, or drop, training pairs that reveal a source of the validation or test text.

    Only the same direction and its opposite count. The same sentence in another language pair is kept.
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
    """Drop training pairs that are too long or whose lengths differ too much, in pieces, tags included."""
    src, tgt = content.source.lengths, content.target.lengths
    longer, shorter = np.maximum(src, tgt), np.minimum(src, tgt)
    too_long = longer > settings.max_length
    # Lengths with EOS: without it very short pairs such as "Go." and "Geh weg." would be dropped.
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
        content.source.take(chosen),
        content.target.take(chosen),
        _parts(left, settings),
    )


def _parts(pairs: Iterable[Pair], settings: CorpusSettings) -> tuple[Part, ...]:
    counts = Counter(pair.direction for pair in pairs)
    directions = settings.all_directions
    return make_parts((direction.pair for direction in directions), (counts[n] for n in range(len(directions))))


def _encode(pairs: Sequence[Pair], tokenizer: Tokenizer, settings: CorpusSettings, *, references: bool) -> SplitContent:
    src, tgt = [pair.src for pair in pairs], [pair.tgt for pair in pairs]
    raw = [pair.reference for pair in pairs] if references else None
    source, target = Pieces.encode(tokenizer, src), Pieces.encode(tokenizer, tgt)
    if settings.tags:
        tags = [tokenizer.tag(direction.target_language) for direction in settings.all_directions]
        source = source.with_tags([tags[pair.direction] for pair in pairs])
    return SplitContent(src, tgt, raw, source, target, _parts(pairs, settings))
