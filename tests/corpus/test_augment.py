"""Augmentation: which pairs change and how, in the expected share, and by the seed alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt.corpus.augment import vary
from nmt.corpus.batching import BucketSampler, train_batches
from nmt.corpus.prepare import prepare
from nmt.corpus.prepared import PreparedCorpus
from nmt.corpus.settings import Augment, CorpusSettings

NOUNS = [f"{first}{second}" for first in ("Hund", "Haus", "Baum", "Tisch") for second in ("chen", "tier", "boot", "")]
GERMAN = [f"Der {a} und das {b} im {c}." for a in NOUNS for b in NOUNS for c in NOUNS[:6]]
ENGLISH = [line.replace("Der", "The").replace("das", "the") for line in GERMAN]
SOME = Augment(lower=0.2, lower_first=0.2, drop_stop=0.1)


@pytest.mark.parametrize(
    ("augment", "expected"),
    [
        (Augment(lower=0.5), ("ein hund in ulm.", "A dog in Ulm.")),
        (Augment(lower_first=0.5), ("ein Hund in Ulm.", "A dog in Ulm.")),
        (Augment(drop_stop=0.5), ("Ein Hund in Ulm", "A dog in Ulm")),
    ],
)
def test_what_changes(augment: Augment, expected: tuple[str, str]) -> None:
    count = 400
    changed = vary(["Ein Hund in Ulm."] * count, ["A dog in Ulm."] * count, augment, 1)
    assert set(changed.values()) == {expected}
    assert 0.4 * count < len(changed) < 0.6 * count


@pytest.mark.parametrize(("src", "tgt"), [("Ja?", "Yes."), ("Ja.", "Yes!"), ("Ja...", "Yes..."), (".", "."), ("", "")])
def test_a_stop_is_dropped_on_both_sides_or_not_at_all(src: str, tgt: str) -> None:
    assert vary([src] * 50, [tgt] * 50, Augment(drop_stop=0.5), 1) == {}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.text(), st.text())), st.integers(0, 2**32 - 1))
def test_only_what_differs_is_named(pairs: list[tuple[str, str]], seed: int) -> None:
    source, target = [src for src, _ in pairs], [tgt for _, tgt in pairs]
    changed = vary(source, target, SOME, seed)
    assert changed == vary(source, target, SOME, seed)
    assert all(changed[n] != pairs[n] for n in changed)
    assert vary(source, target, Augment(), seed) == {}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> PreparedCorpus:
    folder = tmp_path_factory.mktemp("corpus")
    for name, lines in (("de", GERMAN), ("en", ENGLISH)):
        (folder / f"train.{name}").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    found = CorpusSettings(
        train_src=(folder / "train.de",),
        train_tgt=(folder / "train.en",),
        valid_size=20,
        vocabulary=90,
        augment=SOME,
    )
    return prepare(found, folder / "cache")


def test_the_tokenizer_has_pieces_for_lower_case(corpus: PreparedCorpus) -> None:
    assert len(corpus.tokenizer.encode("hund und haus")) <= len(corpus.tokenizer.encode("Hund und Haus")) + 3


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_batches_hold_the_changed_pairs(corpus: PreparedCorpus, alpha: float) -> None:
    """Others in each epoch, and the same ones again in a resumed one."""
    train, decode = corpus.train, corpus.tokenizer.decode

    def epoch(number: int) -> list[tuple[str, str]]:
        sampler = BucketSampler(train.lengths, batch_tokens=300, seed=1)
        sampler.epoch = number
        batches = train_batches(train, sampler, corpus.tokenizer, sample_alpha=alpha, augment=SOME, seed=2)
        return [(decode(s), decode(t)) for b in batches for s, t in zip(b.src.tolist(), b.tgt.tolist(), strict=True)]

    first, second = epoch(0), epoch(1)
    assert first == epoch(0)
    assert sorted(first) != sorted(second)
    for pairs in (first, second):
        assert len(pairs) == len(train)
        assert 0.1 < sum(src == src.lower() for src, _ in pairs) / len(pairs) < 0.3
        assert 0.3 < sum(src[0].islower() for src, _ in pairs) / len(pairs) < 0.5
        assert 0.05 < sum(not tgt.endswith(".") for _, tgt in pairs) / len(pairs) < 0.15
        stopped = {tgt.rstrip(".") for _, tgt in pairs}
        assert stopped == {line.rstrip(".") for line in train.target_lines}


def test_other_shares_are_another_corpus(corpus: PreparedCorpus, tmp_path: Path) -> None:
    source, target = corpus.train.source_lines, corpus.train.target_lines
    for name, lines in (("de", source), ("en", target)):
        (tmp_path / f"train.{name}").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    settings = CorpusSettings(
        train_src=(tmp_path / "train.de",), train_tgt=(tmp_path / "train.en",), valid_size=20, vocabulary=90
    )
    one = prepare(settings, tmp_path / "cache")
    other = prepare(settings.model_copy(update={"augment": Augment(lower=0.3)}), tmp_path / "cache")
    assert one.path != other.path
    assert one.tokenizer.to_bytes() != other.tokenizer.to_bytes()
