"""Word alignment of a text and its translation, in characters, from the attention over subword pieces.

In the way of the data: translation -> **alignment** -> protected parts and markup, moved with the words.
All functions are pure and take time linear in the texts (and in the attention weights).
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Protocol

from nmt.text.cleaning import SPACE, clean

_UNIT = re.compile(r"\d+(?:[.,]\d+)*|\w+|[^\w\s]")
_UNKNOWN_PIECE = "<unk>"
_LONGEST_UNKNOWN = 1000
"""characters of an unknown piece within which the next known one is looked for"""


class Segment(Protocol):
    """A translated segment (nmt.translation.SegmentTranslation)."""

    @property
    def source(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def source_pieces(self) -> Sequence[str]: ...
    @property
    def target_pieces(self) -> Sequence[str]: ...
    @property
    def token_log_probs(self) -> Sequence[float]: ...
    @property
    def attention(self) -> Any: ...  # (T, S)


@dataclass(frozen=True)
class Word:
    """A word, number or sign of a translation, and the characters of the source that it was translated from."""

    space: str
    """white space before it"""
    text: str
    """empty for the white space at the end of a text"""
    source: int = -1
    """begin of the source piece with most of the attention; -1: none (the end of the sentence, or not translated)"""
    source_end: int = -1
    weight: float = 0.0
    """share of the attention that this piece has, 0 to 1"""
    confidence: float = 1.0
    """geometric mean of the probabilities of its pieces; 1 for copied text"""

    def is_aligned(self, source: str) -> bool:
        """Return whether it tells where its source's translation is: a sign does only if it comes from the same one."""
        return self.source >= 0 and (self.text[:1].isalnum() or source.startswith(self.text, self.source))


def text_of(words: Iterable[Word]) -> str:
    """Return the text of words."""
    return "".join(word.space + word.text for word in words)


def align(source: str, target: str, segments: Sequence[Segment]) -> list[Word]:
    """Return the words of `target`, a translation of `source` by these segments; `text_of` gives `target` again.

    A word outside of the segments is copied text, and has no source; neither has any after a segment that is not found.
    A model without attention gives no weights: then the words are spread evenly over the source.
    """
    words: list[Word] = []
    end = source_end = 0
    plain, places = _cleaned(source)
    for segment in segments:
        source_begin = plain.find(segment.source, source_end)
        begin = target.find(segment.text, end)
        if source_begin < 0 or begin < 0:
            break
        *copied, last = _unaligned(target[end:begin])
        words += [*copied, *_align_segment(segment, last.space, source_begin, places)]
        end, source_end = begin + len(segment.text), source_begin + len(segment.source)
    return [*words, *_unaligned(target[end:])]


def compose(words: Sequence[Word], pivot: Sequence[Word]) -> list[Word]:
    """Return the words of a translation of a translation: `words` align it with the text that `pivot` aligns."""
    begins = list(accumulate((len(word.space) + len(word.text) for word in pivot[:-1]), initial=0))
    composed = []
    for word in words:
        via = pivot[bisect_right(begins, word.source) - 1] if word.source >= 0 and begins else Word("", "")
        composed.append(replace(word, source=via.source, source_end=via.source_end, weight=word.weight * via.weight))
    return composed


def piece_spans(pieces: Sequence[str], text: str) -> list[tuple[int, int]]:
    """Return for each piece its span (begin, end) in `text`, without white space; empty for tags and the end label.

    The text of an unknown piece is what lies between its neighbours.
    """
    spans: list[tuple[int, int]] = []
    end, unknown = 0, 0
    for piece in pieces:
        if piece == _UNKNOWN_PIECE:
            unknown += 1
            spans.append((end, end))
            continue
        surface = piece.replace(SPACE, " ").strip()
        end = _skip_space(text, end)
        begin = text.find(surface, end, end + len(surface) + (_LONGEST_UNKNOWN if unknown else 0)) if surface else -1
        if begin < 0:
            spans.append((end, end))
            continue
        if unknown:
            spans[-1] = (end, end + len(text[end:begin].rstrip()))
            unknown = 0
        end = begin + len(surface)
        spans.append((begin, end))
    if unknown:
        last = max(n for n, piece in enumerate(pieces) if piece == _UNKNOWN_PIECE)
        spans[last] = (_skip_space(text, end), len(text.rstrip()))
    return spans


def _cleaned(text: str) -> tuple[str, list[int]]:
    """Return `text` as segments have it (`nmt.text.cleaning`), and for each of its characters the place in `text`.

    Characters that NFC composes keep their own places, so such a text is not found again.
    """
    if text.isascii() and text.isprintable() and "  " not in text:  # as in `clean`: most English texts
        return text, list(range(len(text) + 1))
    signs: list[str] = []
    places: list[int] = []
    for place, sign in enumerate(text):
        if not sign.isspace():
            sign = clean(sign)
        elif signs[-1:] != [" "]:
            sign = " "
        else:
            continue
        signs.append(sign)
        places += [place] * len(sign)
    return "".join(signs), [*places, len(text)]


def _align_segment(segment: Segment, space: str, source_begin: int, places: Sequence[int]) -> Iterator[Word]:
    """Yield the words of a segment whose source begins at `source_begin`, the first with `space` before it.

    places: of the characters of the cleaned source in the source.
    """
    text = segment.text
    source_spans = piece_spans(segment.source_pieces, segment.source)
    target_spans = piece_spans(segment.target_pieces, text)
    attention: list[list[float]] = segment.attention.tolist()
    units = [found.span() for found in _UNIT.finditer(text)]
    first = end = 0
    for n, (begin, stop) in enumerate(units):
        while first < len(target_spans) and target_spans[first][1] <= begin:
            first += 1
        weights = [0.0] * len(source_spans)
        log_prob, pieces = 0.0, 0
        for piece in range(first, len(target_spans)):
            if target_spans[piece][0] >= stop:
                break
            weights = [a + b for a, b in zip(weights, attention[piece], strict=True)]
            log_prob, pieces = log_prob + segment.token_log_probs[piece], pieces + 1
        total = sum(weights)
        if total > 0:
            best = max(range(len(weights)), key=weights.__getitem__)
            span, weight = source_spans[best], weights[best] / total
        else:
            place = len(segment.source) * n // len(units)
            span, weight = (place, place + 1), 0.0
        word = Word(space + text[end:begin], text[begin:stop], confidence=math.exp(log_prob / max(1, pieces)))
        if span[0] < span[1]:
            begins, ends = places[source_begin + span[0]], places[source_begin + span[1] - 1] + 1
            word = replace(word, source=begins, source_end=ends, weight=weight)
        yield word
        space, end = "", stop


def _unaligned(text: str) -> list[Word]:
    """Return the words of copied text, and the white space after them as a word without text."""
    words, end = [], 0
    for found in _UNIT.finditer(text):
        words.append(Word(text[end : found.start()], found[0]))
        end = found.end()
    return [*words, Word(text[end:], "")]


def _skip_space(text: str, begin: int) -> int:
    while begin < len(text) and text[begin].isspace():
        begin += 1
    return begin
