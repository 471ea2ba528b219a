"""Cut text into segments that are short enough for the model, without losing a character.

In the way of the data: text -> **segments** -> tokenizer. All functions are pure. A text becomes spans, some to be
translated and some to be copied (line ends, white space, rows of symbols). Concatenated, the spans are the text.

A line within the limit stays whole. A longer one is cut between sentences. A sentence that is still too long is halved
repeatedly near its middle, if possible between clauses, else between words, else between characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

try:
    import sentencex
except ImportError:  # optional: it has rules for many languages, whereas ours below only use punctuation
    sentencex = None


@dataclass(frozen=True)
class Span:
    """A part of the text."""

    text: str
    translate: bool
    """True for a segment to be translated, False for text to be copied"""


_LINE_END = re.compile("(\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])")
_CLOSING = "\"'”’“‘»›«)\\]}」』】）"
_SENTENCE_END = re.compile(
    rf"(?<=[.!?…])[{_CLOSING}]*\s+|"  # a stop, closing quotes and brackets, white space
    rf"(?<=[。！？｡])[{_CLOSING}]*\s*"  # full-width punctuation needs no white space
)
_CLAUSE_END = re.compile(rf"(?<=[,;:])[{_CLOSING}]*\s+|\s+(?=[–—-]\s)|(?<=[，、；：،؛])\s*")
_SPACE = re.compile(r"\s+")
# A full stop after one of these does not end a sentence.
_ABBREVIATIONS = frozenset(
    re.findall(
        r"\w+",
        "mr mrs ms dr prof st vs no nr sr jr inc ltd co etc fig vol pp eg ie usw bzw ca evtl ggf inkl vgl sog bd abs"
        " art str tel hr fr bspw zzgl jan feb mar apr jun jul aug sep sept oct okt nov dec dez mme mlle av env",
    )
)


def split(
    text: str, limit: int, length: Callable[[str], int], *, split_sentences: bool = False, language: str = ""
) -> list[Span]:
    """Cut `text` into spans; those to be translated have a `length` of at most `limit`.

    `"".join(span.text for span in spans) == text`. A segment neither begins nor ends with white space and contains a
    letter or digit. Only a segment of one character can exceed `limit`. With `split_sentences` every line is cut into
    sentences, otherwise only lines above `limit`. `language` (a code) selects the rules for sentences.
    """
    spans: list[Span] = []
    for part in _LINE_END.split(text):
        if not is_translatable(part):
            spans.append(Span(part, False))
            continue
        fits = length(part) <= limit
        for sentence in sentences(part, language) if split_sentences or not fits else [part]:
            for piece in _shorten(sentence, limit, length):
                spans += _strip(piece)
    return _merge(spans)


def is_translatable(text: str) -> bool:
    """Return whether `text` contains a letter or a digit; other text is the same in all languages."""
    return any(character.isalnum() for character in text)


def sentences(text: str, language: str = "") -> list[str]:
    """Return the sentences of `text`, each with the white space after it; concatenated they are `text`."""
    if sentencex is not None:
        found = list(sentencex.segment(language or "en", text))
        if "".join(found) == text:
            return found
    ends = (m.span() for m in _SENTENCE_END.finditer(text))
    return _split_at([end for begin, end in ends if not _after_abbreviation(text[max(0, begin - 24) : begin])], text)


def halve(text: str) -> tuple[str, str] | None:
    """Cut `text` in two near its middle: between sentences, else clauses, else words, else characters.

    Returns None if no cut leaves a letter or digit in both halves.
    """
    middle = len(text) / 2
    for cuts, reach in (
        (
            [m.end() for m in _SENTENCE_END.finditer(text)],
            0.25,
        ),  # largest distance from the middle, relative to the length
        ([m.end() for m in _CLAUSE_END.finditer(text)], 0.25),
        ([m.end() for m in _SPACE.finditer(text)], 0.5),
        (_between_characters(text), 0.5),
    ):
        for cut in sorted(cuts, key=lambda cut: abs(cut - middle)):
            if abs(cut - middle) > reach * len(text):
                break
            if is_translatable(text[:cut]) and is_translatable(text[cut:]):
                return text[:cut], text[cut:]
    return None


def _between_characters(text: str) -> list[int]:
    """Return positions near the middle that do not separate a letter from its accents or the parts of an emoji."""
    begin = max(1, len(text) // 2 - 500)
    return [i for i in range(begin, min(len(text), begin + 1000)) if not _joined(text[i - 1], text[i])]


def _joined(before: str, after: str) -> bool:
    joiner = "\u200d"
    return (
        unicodedata.category(after).startswith("M")
        or joiner in (before, after)
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
        or ("\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff")  # flags
    )


def _shorten(text: str, limit: int, length: Callable[[str], int]) -> Iterator[str]:
    """Halve `text` until each part is at most `limit` long."""
    todo = [text]
    while todo:
        part = todo.pop()
        halves = None if length(part) <= limit else halve(part) or _anywhere(part)
        if halves is None:
            yield part
        else:
            todo += [halves[1], halves[0]]


def _anywhere(text: str) -> tuple[str, str] | None:
    """Cut `text` exactly in the middle; None for a single character."""
    return (text[: len(text) // 2], text[len(text) // 2 :]) if len(text) > 1 else None


def _after_abbreviation(before: str) -> bool:
    """Return whether the full stop that ends `before` belongs to an abbreviation, an initial or an ordinal number."""
    if not before.endswith("."):
        return False
    word = re.split(r"[\s(\[\"'„“‚‘«»]", before[:-1])[-1]
    initial = word[-1:].isalpha() and word[-2:-1] in ("", ".")  # J. or z.B.
    ordinal = word.isdecimal() and len(word) <= 2  # 3. Mai
    return initial or ordinal or word.lower().replace(".", "") in _ABBREVIATIONS


def _split_at(cuts: list[int], text: str) -> list[str]:
    edges = [0, *cuts, len(text)]
    return [text[begin:end] for begin, end in pairwise(edges) if end > begin]


def _strip(text: str) -> Iterator[Span]:
    """Separate the outer white space of `text` from its core; copy all of it if there is nothing to translate."""
    if not is_translatable(text):
        yield Span(text, False)
        return
    core = text.strip()
    begin = text.index(core)
    yield Span(text[:begin], False)
    yield Span(core, True)
    yield Span(text[begin + len(core) :], False)


def _merge(spans: list[Span]) -> list[Span]:
    """Merge adjacent copied spans and drop empty ones."""
    merged: list[Span] = []
    for span in spans:
        if not span.text:
            continue
        if merged and not span.translate and not merged[-1].translate:
            merged[-1] = Span(merged[-1].text + span.text, False)
        else:
            merged.append(span)
    return merged
