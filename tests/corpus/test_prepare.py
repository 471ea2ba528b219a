"""From files to a prepared corpus: what is refused, what is dropped and counted, and the cache."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from nmt.corpus.prepare import Pair, clean_and_split, prepare, split_by_source
from nmt.corpus.prepared import Pieces, PreparedCorpus, open_prepared
from nmt.corpus.reading import read_lines, read_pair, read_tsv
from nmt.corpus.report import Report
from nmt.corpus.settings import CorpusSettings, Direction
from nmt.errors import CorpusError, NMTError, TokenizerError
from nmt.files import atomic_folder
from nmt.text.special_ids import UNK
from nmt.text.tokenizer import Tokenizer

# Other work on the machine must not fail a test.
UNHURRIED = examples(deadline=None, max_examples=50)

NOUNS = ["dog", "cat", "house", "lake", "bird", "tree", "car", "river", "man", "child"]
VERBS = ["sleeps", "runs", "waits", "falls", "sings", "swims"]
ENGLISH = [f"The {a} {verb} near the {b}." for a in NOUNS for b in NOUNS for verb in VERBS if a != b]
GERMAN = [line.replace("The", "Der").replace(" the", " das").replace("near", "nahe") for line in ENGLISH]
VALID = ["A dog and a cat.", "A bird."], ["Ein dog und ein cat.", "Ein bird."]


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="")
    return path


Settings = TypeVar("Settings", bound=Direction)


def changed(settings: Settings, **changes: Any) -> Settings:
    """The settings with some fields changed."""
    return settings.model_copy(update=changes)


@pytest.fixture
def settings(tmp_path: Path) -> CorpusSettings:
    """A small corpus with validation files."""
    return CorpusSettings(
        train_src=(write(tmp_path / "train.en", ENGLISH),),
        train_tgt=(write(tmp_path / "train.de", GERMAN),),
        valid_src=write(tmp_path / "valid.en", VALID[0]),
        valid_tgt=write(tmp_path / "valid.de", VALID[1]),
        vocabulary=70,
    )


# Reading


def test_lines_end_at_line_feeds_only(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes("\ufeffone\r\ntwo\u2028still two\x0btoo\n\nfour".encode())
    assert read_lines(path) == ["one", "two\u2028still two\x0btoo", "", "four"]


@UNHURRIED
@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"])), min_size=1))
def test_reading_gives_back_what_was_written(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("lines") / "text"
    data = "".join(f"{line}\n" for line in lines).encode()
    if lines[0].startswith("\ufeff"):
        return
    for content in (data, gzip.compress(data)):
        path.write_bytes(content)
        assert read_lines(path) == lines


def damaged_gzip() -> bytes:
    whole = bytearray(gzip.compress(b"some line\n" * 1000))
    whole[20] ^= 0xFF
    return bytes(whole)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (gzip.compress(b""), "is empty"),
        (b"good\nba\xffd\n", r"line 2 is not valid UTF-8 \(byte 0xff\)"),
        (gzip.compress(b"\n\n\xc3"), "line 3 is not valid UTF-8"),
        (gzip.compress(os.urandom(1000).hex().encode())[:-9], "gzip data is truncated or damaged"),
        (gzip.compress(b"line\n")[:5], "gzip data is truncated or damaged"),
        (damaged_gzip(), "gzip data is truncated or damaged"),
        ("text\n".encode("utf-16"), "UTF-16, not UTF-8"),
        (None, "no such file; check the name$"),
        ("folder", "is a folder"),
    ],
)
def test_unreadable_files_are_named(tmp_path: Path, content: bytes | str | None, message: str) -> None:
    path = tmp_path / "text.en"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(CorpusError, match=rf"text\.en: .*{message}"):
        read_lines(path)


def test_unequal_line_counts_name_both_files_and_counts(tmp_path: Path) -> None:
    src, tgt = write(tmp_path / "a.en", ["x"] * 1200), write(tmp_path / "a.de", ["y"] * 1199)
    with pytest.raises(CorpusError, match=r"a\.en has 1,200 lines but .*a\.de has 1,199"):
        read_pair(src, tgt)


def test_tsv_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", ["id\tone\teins", "id\ttwo\tzwei\tmore"])
    text = read_tsv(path, (1, 2))
    assert (text.src, text.tgt) == (["one", "two"], ["eins", "zwei"])
    with pytest.raises(CorpusError, match=r"x\.tsv: line 1 has 3 columns, at least 4 are needed"):
        read_tsv(path, (1, 3))


# Preparing


def test_a_prepared_corpus_holds_text_pieces_and_references(settings: CorpusSettings, tmp_path: Path) -> None:
    raw = ["Ein\u00a0 dog  und ein cat. ", "Ein bird."]
    write(tmp_path / "valid.de", raw)
    corpus = prepare(settings, tmp_path / "cache")
    assert len(corpus.train) == len(ENGLISH)
    assert corpus.test is None
    assert corpus.train.source_lines == ENGLISH
    assert corpus.train.target_lines == GERMAN
    assert corpus.valid.source_lines == VALID[0]
    assert corpus.valid.target_lines == VALID[1]
    assert corpus.valid.reference_lines == raw
    for split in (corpus.train, corpus.valid):
        for i in range(len(split)):
            assert corpus.tokenizer.decode(split.src(i).tolist()).replace("⁇", "") in split.source_lines[i]
            assert split.tgt(i).tolist() == corpus.tokenizer.encode(split.target_lines[i])
        assert split.lengths[0].tolist() == [len(split.src(i)) for i in range(len(split))]
        assert split.source.ids.dtype == np.uint16
        assert isinstance(split.source.ids, np.memmap)
    assert corpus.pairs == (("en", "de"),)
    assert corpus.report.unknown["valid"] == sum(
        int((ids == UNK).sum()) for ids in (corpus.valid.source.ids, corpus.valid.target.ids)
    )


def test_training_pairs_are_dropped_for_a_reason_with_an_example(settings: CorpusSettings, tmp_path: Path) -> None:
    extra = [
        ("", "leer"),  # 1
        ("empty", " \u00ad "),
        (ENGLISH[0], GERMAN[0]),  # 3
        ("Tom", "Tom"),
        ("word " * 60, "Wort " * 60),  # 5
        ("yes", "ja das ist ja so wie es eben ist ja ja"),
        (f" {ENGLISH[0]}\x07", GERMAN[0]),  # 7: a duplicate once it is clean
    ]
    write(settings.train_src[0], ENGLISH)
    src = (*settings.train_src, write(tmp_path / "more.en", [e for e, _ in extra]))
    tgt = (*settings.train_tgt, write(tmp_path / "more.de", [d for _, d in extra]))
    settings = changed(settings, train_src=src, train_tgt=tgt, max_length=100, max_ratio=5)
    corpus = prepare(settings, tmp_path / "cache")
    first, second, valid = corpus.report.files
    assert (first.name, first.read, first.kept, first.dropped) == ("train.en | train.de", 540, 540, {})
    assert (valid.split, valid.read, valid.kept) == ("valid", 2, 2)
    found = {reason: (d.count, d.first_line) for reason, d in second.dropped.items()}
    assert found == {
        "empty source or target": (2, 1),
        "duplicate pair": (2, 3),
        "longer than data.max_length=100 pieces": (1, 5),
        "lengths differ by more than data.max_ratio=5": (1, 6),
    }
    assert (second.read, second.kept, len(corpus.train)) == (7, 1, 541)
    text = str(corpus.report)
    assert "more.en | more.de: 7 read, 1 kept" in text
    assert "dropped 2: duplicate pair (first: line 3)" in text
    assert Report.from_dict(json.loads(json.dumps(corpus.report.to_dict()))) == corpus.report


def test_filters_can_be_turned_off(settings: CorpusSettings, tmp_path: Path) -> None:
    write(settings.train_src[0], [*ENGLISH, ENGLISH[0], "Tom", "x" * 50])
    write(settings.train_tgt[0], [*GERMAN, GERMAN[0], "Tom", "y"])
    everything = changed(settings, deduplicate=False, max_ratio=1000.0)
    assert len(prepare(everything, tmp_path / "cache").train) == len(ENGLISH) + 3


def test_pairs_can_be_rejected_by_their_text(settings: CorpusSettings) -> None:
    report = Report()
    train, _ = clean_and_split(settings, report, reject=lambda src, tgt: "no dogs" if "dog" in src else "")
    assert [pair.src for pair in train] == [line for line in ENGLISH if "dog" not in line]
    assert {reason: d.count for reason, d in report.files[0].dropped.items()} == {"no dogs": len(ENGLISH) - len(train)}
    with pytest.raises(CorpusError, match=r"no training pair is left after filtering \(540 no\); give other text"):
        clean_and_split(settings, Report(), reject=lambda src, tgt: "no")


def test_validation_pairs_are_never_dropped(settings: CorpusSettings, tmp_path: Path) -> None:
    write(tmp_path / "valid.en", ["", "word " * 500, "A cat.", "A cat."])
    write(tmp_path / "valid.de", ["", "w", "A cat.", "A cat."])
    settings = changed(settings, max_length=30)
    corpus = prepare(settings, tmp_path / "cache")
    assert len(corpus.valid) == 4
    assert corpus.valid.lengths[0][0] == 0
    assert any("valid: pairs with an empty side, kept: 1" in warning for warning in corpus.report.warnings)


def test_training_pairs_seen_in_the_test_are_counted_or_dropped(settings: CorpusSettings, tmp_path: Path) -> None:
    write(tmp_path / "valid.en", [ENGLISH[3], "A cat."])
    corpus = prepare(settings, tmp_path / "cache")
    assert len(corpus.train) == len(ENGLISH)
    expected = "training pairs whose source is also in valid: 1 (first: train.en | train.de line 4)"
    assert corpus.report.warnings[0].startswith(expected)
    corpus = prepare(changed(settings, drop_test_overlap=True), tmp_path / "cache")
    assert len(corpus.train) == len(ENGLISH) - 1
    assert not corpus.report.warnings
    assert corpus.report.files[0].dropped["source also in valid"].first_line == 4


def test_splits_are_held_out_where_no_files_are_given(settings: CorpusSettings, tmp_path: Path) -> None:
    settings = changed(settings, valid_src=None, valid_tgt=None, valid_size=30, test_size=20)
    corpus = prepare(settings, tmp_path / "cache")
    assert corpus.test is not None
    sizes = len(corpus.train), len(corpus.valid), len(corpus.test)
    assert sizes == (len(ENGLISH) - 50, 30, 20)
    parts = [set(split.source_lines) for split in (corpus.train, corpus.valid, corpus.test)]
    assert set.union(*parts) == set(ENGLISH)
    assert sum(map(len, parts)) == len(ENGLISH)
    assert (corpus.report.files[0].kept, corpus.report.files[0].held_out) == (sizes[0], 50)
    other = prepare(changed(settings, split_seed=2), tmp_path / "cache")
    assert other.valid.source_lines != corpus.valid.source_lines


@UNHURRIED
@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("uvwxyz")), min_size=6, max_size=40, unique=True),
    st.integers(0, 9),
)
def test_translations_of_one_source_stay_together(texts: list[tuple[str, str]], seed: int) -> None:
    pairs = [Pair(src, tgt, tgt, 0, line) for line, (src, tgt) in enumerate(texts)]
    train, held = split_by_source(pairs, {"valid": 2, "test": 3}, seed)
    assert sorted([*train, *held["valid"], *held["test"]]) == sorted(pairs)
    assert len(held["valid"]) <= 2
    assert len(held["test"]) <= 3
    sources = [{pair.src for pair in part} for part in (train, held["valid"], held["test"])]
    assert sum(map(len, sources)) == len(set.union(*sources))
    assert split_by_source(pairs, {"valid": 2, "test": 3}, seed) == (train, held)


def test_tsv_and_gzip_give_the_same_corpus(settings: CorpusSettings, tmp_path: Path) -> None:
    plain = prepare(settings, tmp_path / "cache")
    rows = [f"{e}\t{d}\tcredit" for e, d in zip(ENGLISH, GERMAN, strict=True)]
    tsv = write(tmp_path / "train.tsv", rows)
    tsv.write_bytes(gzip.compress(tsv.read_bytes()))
    other = prepare(changed(settings, train_src=(), train_tgt=(), train_tsv=(tsv,)), tmp_path / "cache")
    assert other.path != plain.path
    assert other.tokenizer.to_bytes() == plain.tokenizer.to_bytes()
    assert np.array_equal(other.train.source.ids, plain.train.source.ids)


Change = Callable[[CorpusSettings], CorpusSettings]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: changed(s, train_src=(), train_tgt=()), CorpusError, "no training text: set data.train_src"),
        (lambda s: changed(s, train_tgt=()), CorpusError, "data.train_src names 1 files but data.train_tgt 0"),
        (lambda s: changed(s, train_tgt=s.train_src), CorpusError, "given as source and as target of train"),
        (lambda s: changed(s, valid_src=None, valid_tgt=None, valid_size=0), CorpusError, "no validation text"),
        (
            lambda s: changed(s, valid_src=None, valid_tgt=None, valid_size=540),
            CorpusError,
            "valid_size=540: too much for 540 pairs; hold out",
        ),
        (lambda s: changed(s, max_length=2), CorpusError, "data.max_length=2"),
        (lambda s: changed(s, vocabulary=9000), TokenizerError, "data.vocabulary: 9000 is too large"),
        (
            lambda s: changed(s, train_src=(Path("no.en"),), root=Path("here")),
            CorpusError,
            r"here/no.en: no such file; .*\(here\)",
        ),
    ],
)
def test_bad_settings_are_named(
    settings: CorpusSettings, tmp_path: Path, change: Change, error: type[NMTError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        prepare(change(settings), tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").glob("*")), "nothing half-made is left"


# The cache


def test_prepared_once_and_found_by_content(settings: CorpusSettings, tmp_path: Path) -> None:
    log: list[str] = []
    first = prepare(settings, tmp_path / "cache", log.append)
    made = os.stat(first.path / "meta.json").st_mtime_ns
    moved = changed(settings, train_src=(settings.train_src[0].rename(tmp_path / "elsewhere.en"),))
    again = prepare(moved, tmp_path / "cache", log.append)
    assert again.path == first.path
    assert os.stat(first.path / "meta.json").st_mtime_ns == made
    assert "found prepared" in log[-1]
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [first.path.name]


def test_changed_text_or_settings_have_another_name(settings: CorpusSettings, tmp_path: Path) -> None:
    paths = {prepare(settings, tmp_path / "cache").path}
    paths.add(prepare(changed(settings, vocabulary=71), tmp_path / "cache").path)
    paths.add(prepare(changed(settings, max_length=99), tmp_path / "cache").path)
    write(settings.train_src[0], ["Another line.", *ENGLISH[1:]])
    paths.add(prepare(settings, tmp_path / "cache").path)
    assert len(paths) == 4


def contents(corpus: PreparedCorpus) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in corpus.path.iterdir()}


def test_preparing_is_deterministic(settings: CorpusSettings, tmp_path: Path) -> None:
    assert contents(prepare(settings, tmp_path / "one")) == contents(prepare(settings, tmp_path / "two"))


@pytest.mark.parametrize("name", ["meta.json", "tokenizer.model", "train.src.ids.npy", "valid.ref.txt"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_damaged_cache_is_refused_and_made_anew(
    settings: CorpusSettings, tmp_path: Path, name: str, damage: str
) -> None:
    corpus = prepare(settings, tmp_path / "cache")
    whole = contents(corpus)
    path = corpus.path / name
    data = bytearray(whole[name])
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        data[0 if name == "meta.json" else len(data) // 2] ^= 0x40
        path.write_bytes(data)
    else:
        path.unlink()
    with pytest.raises(CorpusError, match="damaged"):
        open_prepared(corpus.path)
    log: list[str] = []
    assert contents(prepare(settings, tmp_path / "cache", log.append)) == whole
    assert "damaged" in log[0]


def test_a_cache_of_another_version_is_refused(settings: CorpusSettings, tmp_path: Path) -> None:
    corpus = prepare(settings, tmp_path / "cache")
    meta = json.loads((corpus.path / "meta.json").read_text())
    (corpus.path / "meta.json").write_text(json.dumps(meta | {"format": 999}))
    with pytest.raises(CorpusError, match="another version"):
        open_prepared(corpus.path)


def test_an_unwritable_cache_is_named(settings: CorpusSettings, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(CorpusError, match=r"cache: cannot be written.*set data\.cache"):
        prepare(settings, tmp_path / "cache")


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), atomic_folder(tmp_path / "x") as folder:
        folder.write_text("half of it")
    assert not list(tmp_path.iterdir())
    (tmp_path / "x").mkdir()
    with atomic_folder(tmp_path / "x") as folder:
        (folder / "file").touch()
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["file"]
    with pytest.raises(OSError, match="x"), atomic_folder(tmp_path / "x") as folder:
        (folder / "other").touch()
    assert [p.name for p in tmp_path.rglob("*")] == ["x", "file"]


# Pieces


def test_pieces_without_any_content_can_be_kept(settings: CorpusSettings, tmp_path: Path) -> None:
    write(tmp_path / "valid.en", ["", ""])
    corpus = prepare(settings, tmp_path / "cache")
    assert corpus.valid.lengths[0].tolist() == [0, 0]
    assert corpus.valid.src(1).tolist() == []


@UNHURRIED
@given(st.lists(st.booleans(), min_size=len(VALID[0]) * 3, max_size=len(VALID[0]) * 3))
def test_selecting_pieces(keep: list[bool]) -> None:
    pieces = Pieces.encode(TOKENIZER, VALID[0] * 3)
    chosen = pieces.take(np.flatnonzero(keep))
    expected = [pieces[i].tolist() for i, kept in enumerate(keep) if kept]
    assert [chosen[i].tolist() for i in range(len(chosen))] == expected


TOKENIZER = Tokenizer.train(ENGLISH + GERMAN, vocabulary=70)


def test_a_sampled_split_is_a_pure_function_of_its_seed(settings: CorpusSettings, tmp_path: Path) -> None:
    corpus = prepare(settings, tmp_path / "cache")
    one, same, other = (corpus.train.vary(corpus.tokenizer, seed, alpha=0.3) for seed in (7, 7, 8))
    assert np.array_equal(one.source.ids, same.source.ids)
    assert np.array_equal(one.target.starts, same.target.starts)
    assert not np.array_equal(one.source.ids, other.source.ids)
    assert [corpus.tokenizer.decode(one.src(i).tolist()) for i in range(len(one))] == corpus.train.source_lines
    assert [corpus.tokenizer.decode(one.tgt(i).tolist()) for i in range(len(one))] == corpus.train.target_lines


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "secret.en", ["x"])
    path.chmod(0)
    with pytest.raises(CorpusError, match=r"secret\.en: cannot be read"):
        read_lines(path)
