"""Segments: nothing is lost, nothing is too long, and cuts fall where they hurt least."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt.text import segments
from nmt.text.segments import Span, halve, is_translatable, sentences, split

# Text with everything that has ever broken a splitter.
ODD = st.text(
    alphabet=st.one_of(
        st.sampled_from(
            " \n\r\t.,;:!?…。！？、-–—()[]\"'«»0123456789abcABCäöüßéñ你好мир\u0301\u200d\ufe0f\x00\x85\u2028\u3000"
        ),
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(["👩", "🏽", "🇩", "🇪"]),
    ),
    max_size=120,
)


def words(text: str) -> int:
    """A stand-in for a tokenizer: a piece for each four characters of a word, one for each symbol."""
    return sum(1 + len(word) // 4 for word in text.split())


def joined(spans: list[Span]) -> str:
    return "".join(span.text for span in spans)


@settings(max_examples=300, deadline=None)
@given(
    text=ODD, limit=st.integers(1, 12), split_sentences=st.booleans(), language=st.sampled_from(["", "de", "zh", "xx"])
)
def test_nothing_lost_nothing_too_long(text: str, limit: int, split_sentences: bool, language: str) -> None:
    spans = split(text, limit, words, split_sentences=split_sentences, language=language)
    assert joined(spans) == text
    for span in spans:
        assert span.text
        assert span.translate == is_translatable(span.text)
        if span.translate:
            assert span.text == span.text.strip()
            assert words(span.text) <= limit or len(span.text) == 1
            assert "\n" not in span.text


@settings(max_examples=200, deadline=None)
@given(text=ODD)
def test_sentences_joined_are_the_text(text: str) -> None:
    assert "".join(sentences(text, "de")) == text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "sentencex", None)
        assert "".join(sentences(text, "de")) == text


@settings(max_examples=200, deadline=None)
@given(text=ODD)
def test_halves_joined_are_the_text(text: str) -> None:
    halves = halve(text)
    if halves is None:
        assert sum(character.isalnum() for character in text) < 2 or len(text) < 20
    else:
        assert "".join(halves) == text
        assert all(is_translatable(half) for half in halves)


def test_a_line_that_fits_stays_whole() -> None:
    text = "Two sentences. In one line."
    assert split(text, 100, words) == [Span(text, True)]


def test_split_sentences() -> None:
    spans = split("  How are you?  Fine.\r\n\r\nBye!\n", 100, words, split_sentences=True)
    assert [span.text for span in spans] == ["  ", "How are you?", "  ", "Fine.", "\r\n\r\n", "Bye!", "\n"]


@pytest.mark.parametrize("text", ["", " ", "\n\n", "😀", "👩🏽‍💻 !!!", "...", "—\t—", "\x00"])
def test_nothing_to_translate(text: str) -> None:
    assert not any(span.translate for span in split(text, 5, words))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr. Smith came. He left.", ["Mr. Smith came. ", "He left."]),
        ("Er kam am 3. Mai. Sie nicht.", ["Er kam am 3. Mai. ", "Sie nicht."]),
        ("Das gilt z. B. hier. Gut.", ["Das gilt z. B. hier. ", "Gut."]),
        ("„Komm!“ Er kam.", ["„Komm!“ ", "Er kam."]),
        ("你好。我们走吧！再见", ["你好。", "我们走吧！", "再见"]),
        ("It costs 3.50 at www.example.org today", ["It costs 3.50 at www.example.org today"]),
    ],
)
def test_rules_without_sentencex(text: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "sentencex", None)
    assert sentences(text) == expected


def test_halves_at_the_best_place() -> None:
    assert halve("One two three. Four five six.") == ("One two three. ", "Four five six.")
    assert halve("when it rains, we stay home") == ("when it rains, ", "we stay home")
    assert halve("one two three four") == ("one two ", "three four")
    assert halve("abcdef") == ("abc", "def")
    assert halve("a") is None
    assert halve("a !") is None


def test_combining_characters_stay_together() -> None:
    halves = halve("e\u0301" * 5)
    assert halves is not None
    assert not halves[1].startswith("\u0301")


# Units of texts on which a splitter, or the library it uses, has taken quadratic time, and their relatives.
HOSTILE = [
    *[
        " ",
        ".",
        ". ",
        '."',
        '"',
        "(",
        "«",
        "“a",
        "'",
        "a",
        "a b ",
        "a. ",
        "Mr. ",
        "1. ",
        "…",
        "。",
        "你。",
        "你好，",
        "\t",
    ],
    *["\n", "\r\n", "\u2028", " - ", ", ", ';" ', "e\u0301", "👩\u200d", "🇩", "a@b.c ", "\x00", "\ud800", "\xa0", "_"],
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_is_linear_in_the_text(unit: str) -> None:
    # In quadratic time these 60,000 characters take 10 s to minutes. CPU time, so that a busy machine does not matter.
    began = time.process_time()
    for before, after in (("", ""), ("a", "z"), ("a b", "")):
        text = before + unit * (60_000 // len(unit)) + after
        for split_sentences in (False, True):
            spans = split(text, 50, words, split_sentences=split_sentences)
            assert joined(spans) == text
        halve(text)
    assert time.process_time() - began < 6.0


def test_half_a_surrogate_pair_is_kept() -> None:
    assert sentences("One \ud83d. Two \ude00.") == ["One \ud83d. ", "Two \ude00."]


@pytest.mark.parametrize("text", ["word " * 4000, "x" * 20_000, "Ein Satz. " * 2000, "😀a" * 10_000])
def test_long_text_is_cut_quickly(text: str) -> None:
    spans = split(text, 50, words)
    assert joined(spans) == text
    assert max(words(span.text) for span in spans if span.translate) <= 50
