"""Alignment of words by attention over pieces."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nmt.text.alignment import Word, align, compose, piece_spans, text_of


@dataclass(frozen=True)
class Segment:
    """A translated segment; `links` gives the source piece of each target piece, the last are the end labels."""

    source: str
    text: str
    source_pieces: list[str]
    target_pieces: list[str]
    links: list[int]

    @property
    def token_log_probs(self) -> list[float]:
        return [math.log(0.5)] * len(self.target_pieces)

    @property
    def attention(self) -> Tensor:
        weights = torch.zeros(len(self.target_pieces), len(self.source_pieces))
        for row, link in zip(weights, self.links, strict=True):
            if link >= 0:
                row[link] = 0.75
                row += 0.25 / len(row)
        return weights


HOUSE = Segment(
    "the red house.",
    "la maison rouge.",
    ["▁the", "▁r", "ed", "▁house", ".", "</s>"],
    ["▁la", "▁mai", "son", "▁rouge", ".", "</s>"],
    [0, 3, 3, 1, 4, 5],
)


@pytest.mark.parametrize(
    ("pieces", "text", "spans"),
    [
        (["▁Hel", "lo", "▁", "you", "</s>"], "Hello you", ["Hel", "lo", "", "you", ""]),
        (["<2de>", "▁Hi", "</s>"], "Hi", ["", "Hi", ""]),
        (["▁a", "▁", "<unk>", "▁b"], "a ☃☃ b", ["a", "", "☃☃", "b"]),
        (["<unk>", "▁b", "▁", "<unk>"], "☃ b ☃", ["☃", "b", "", "☃"]),
        (["▁x", "y"], "z", ["", ""]),
    ],
)
def test_spans_of_pieces(pieces: list[str], text: str, spans: list[str]) -> None:
    assert [text[begin:end] for begin, end in piece_spans(pieces, text)] == spans


def test_words_point_to_the_pieces_with_most_attention() -> None:
    words = align("Look: the red house.", "Regarde : la maison rouge.", [HOUSE])
    assert text_of(words) == "Regarde : la maison rouge."
    found = {word.text: "Look: the red house."[word.source : word.source_end] for word in words if word.source >= 0}
    assert found == {"la": "the", "maison": "house", "rouge": "r", ".": "."}
    assert all(word.weight > 0.7 and word.confidence == pytest.approx(0.5) for word in words if word.source >= 0)


def test_without_attention_words_are_spread_over_the_source() -> None:
    flat = replace(HOUSE, links=[-1] * 6)
    sources = [word.source for word in align(HOUSE.source, HOUSE.text, [flat]) if word.text]
    assert sources == sorted(sources) and sources[0] == 0 and sources[-1] > 7


def test_a_segment_that_is_not_found_ends_the_alignment() -> None:
    words = align("something else", HOUSE.text, [HOUSE])
    assert text_of(words) == HOUSE.text and {word.source for word in words} == {-1}


def test_alignments_compose() -> None:
    first = align(HOUSE.source, HOUSE.text, [HOUSE])
    back = Segment(HOUSE.text, HOUSE.source, HOUSE.target_pieces, HOUSE.source_pieces, [0, 3, 3, 1, 4, 5])
    both = compose(align(HOUSE.text, HOUSE.source, [back]), first)
    assert [(word.text, word.source) for word in both if word.text] == [("the", 0), ("red", 4), ("house", 8), (".", 13)]


@given(st.text(), st.text(), st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=4))
def test_no_character_is_lost(source: str, target: str, parts: list[tuple[str, str]]) -> None:
    segments = [Segment(a, b, ["▁a", "</s>"], ["▁b", "</s>"], [0, 1]) for a, b in parts]
    words = align(source, target, segments)
    assert text_of(words) == target
    assert all(word.text or word is words[-1] or not word.space for word in words)
    assert compose(words, [Word("", target)]) and all(word.source <= len(source) for word in words)
