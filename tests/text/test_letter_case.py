"""Letter case: what counts as capitals or as a title, and the sentence that it becomes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt.text.letter_case import as_sentence, is_title, is_upper
from tests.text.test_segments import ODD


@pytest.mark.parametrize("text", ["STOP!", "A", "DIE STRAßE 12", "ÄPFEL (2 KG)", "ПРИВЕТ"])
def test_capitals(text: str) -> None:
    assert is_upper(text)


@pytest.mark.parametrize("text", ["", "12", "ß", "Stop", "aN", "你好", "\U000f0000"])
def test_no_capitals(text: str) -> None:
    assert not is_upper(text)


@pytest.mark.parametrize("text", ["The Lord of the Rings", "Two Men Play Football", "A DOG IN A CAR"])
def test_titles(text: str) -> None:
    assert is_title(text)


@pytest.mark.parametrize("text", ["", "New York City", "Two men play Football", "12 13 14 15", "The cat sat on a mat"])
def test_no_titles(text: str) -> None:
    assert not is_title(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ""),
        ("STOP!", "Stop!"),
        ('"THE DOG" IS 3', '"The dog" is 3'),
        ("DIE STRAßE", "Die straße"),
        ("İZMİR'DE", "İzmİr'de"),  # its small letter has two characters
        ("ΟΔΟΣ", "Οδος"),
    ],
)
def test_sentences(text: str, sentence: str) -> None:
    assert as_sentence(text) == sentence


@settings(max_examples=200, deadline=None)
@given(st.one_of(ODD, st.text()))
def test_the_length_stays(text: str) -> None:
    assert len(as_sentence(text)) == len(text)
    assert as_sentence(as_sentence(text)) == as_sentence(text)


def test_hostile_text_takes_little_time() -> None:
    began = time.monotonic()
    for unit in ("A", "A ", "Ab ", "İ", "1", '"'):
        text = unit * 300_000
        is_upper(text), is_title(text), as_sentence(text)
    assert time.monotonic() - began < 20
