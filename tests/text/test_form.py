"""The form of a text: what is taken off before the translation, and how the translation ends."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings

from nmt.text.form import end_like, unwrap
from tests.text.test_segments import HOSTILE, ODD


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('"Hello."', ('"', "Hello.", '"')),
        ('"Hello".', ('"', "Hello", '".')),
        ("“Hello!”", ("“", "Hello!", "”")),
        ("„Hallo!“", ("„", "Hallo!", "“")),
        ("« Salut ! »", ("« ", "Salut !", " »")),
        ("»Hallo«", ("»", "Hallo", "«")),
        ("(“Hello”)", ("(“", "Hello", "”)")),
        ('"Hello.', ('"', "Hello.", "")),  # the partner is in another sentence
        ('How are you?"', ("", "How are you?", '"')),
        ("'Hello'", ("'", "Hello", "'")),
    ],
)
def test_outer_marks_are_taken_off(text: str, parts: tuple[str, str, str]) -> None:
    assert unwrap(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "Hello",
        '"Yes", he said.',
        '"Yes" and "no"',
        "(a) or (b)",
        "dogs (two)",
        "'tis late",
        "the dogs'",
        '"12"',
        "",
        '"',
    ],
)
def test_other_marks_stay(text: str) -> None:
    assert unwrap(text) == ("", text, "")


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("A dog", "Ein Hund.", "Ein Hund"),
        ("A dog.", "Ein Hund", "Ein Hund."),
        ("A dog?", "Ein Hund.", "Ein Hund?"),
        ("A dog:", "Ein Hund.", "Ein Hund:"),
        ("A dog?", "Ein Hund", "Ein Hund?"),
        ("Come here.", "Komm her!", "Komm her!"),
        ("A dog", "Hunde usw.", "Hunde usw."),
        ("A dog", "Am 3.", "Am 3."),
        ("A dog", "Ein Hund...", "Ein Hund..."),
        ("A dog.", "一只狗。", "一只狗。"),
        ("A dog.", "一只狗", "一只狗"),
        ("一只狗。", "A dog.", "A dog."),
        ("See \U000f0000.", "Siehe \U000f0000", "Siehe \U000f0000."),
        ("A dog", "", ""),
    ],
)
def test_the_end_is_that_of_the_source(source: str, text: str, expected: str) -> None:
    assert end_like(source, text) == expected
    assert end_like(source, expected) == expected


@settings(max_examples=200, deadline=None)
@given(ODD, ODD)
def test_nothing_is_lost(text: str, other: str) -> None:
    before, core, after = unwrap(text)
    assert before + core + after == text
    assert not any(map(str.isalnum, before + after))
    assert [sign for sign in end_like(text, other) if sign.isalnum()] == [sign for sign in other if sign.isalnum()]


def test_hostile_text_takes_little_time() -> None:
    began = time.process_time()
    for unit in HOSTILE:
        text = unit * (60_000 // len(unit))
        unwrap(text), end_like(text, "a" + text), end_like("a" + text, text)
    assert time.process_time() - began < 6.0
