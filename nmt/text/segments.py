"""Cut text into segments that are short enough for the model, without losing a character.

In the way of the data: text -> **segments** -> tokenizer. All functions are pure. A text becomes spans, some to be
translated and some to be copied (line ends, white space, rows of symbols). Concatenated, the spans are the text.

A line within the limit stays whole. A longer one is cut between sentences. A sentence that is still too long is halved
repeatedly near its middle, if possible between clauses, else between words, else between characters.

Texts come from strangers: every function takes time linear in its text, `split` a factor of log(length / limit) more.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

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
# (?<!\s): white space is tried from its first character only, else a long row of it would take quadratic time.
_CLAUSE_END = re.compile(rf"(?<=[,;:])[{_CLOSING}]*\s+|(?<!\s)\s+(?=[–—-]\s)|(?<=[，、；：،؛])\s*")
_SPACE = re.compile(r"\s+")
_TRANSLATABLE = re.compile(r"[^\W\d_]")
_WINDOW = 2000  # characters; sentencex takes quadratic time on some texts, rows of opening quotes for one
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
    letter. Only a segment of one character can exceed `limit`. With `split_sentences` every line is cut into
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
    """Return whether `text` contains a letter; other text, a number alone too, is the same in all languages."""
    return _TRANSLATABLE.search(text) is not None


def sentences(text: str, language: str = "") -> list[str]:
    """Return the sentences of `text`, each with the white space after it; concatenated they are `text`."""
    ends = [m.end() for m in _SENTENCE_END.finditer(text) if not after_abbreviation(text, m.start())]
    if sentencex is not None:
        windows = _windows(ends, text)
        found = [sentence for window in windows for sentence in _by_sentencex(window, language or "en")]
        if "".join(found) == text:
            return found
    return _split_at(ends, text)


def _by_sentencex(text: str, language: str) -> Iterator[str]:
    """Yield the sentences of `text` by the rules of sentencex, which does not take lone surrogates."""
    end = 0
    for sentence in sentencex.segment(language, text.encode("utf-8", "replace").decode()):
        begin, end = end, end + len(sentence)
        yield text[begin:end]


def _windows(ends: list[int], text: str) -> list[str]:
    """Cut `text` into windows of at most `_WINDOW` characters at `ends`, where there is one in a window, else anywhere.

    A sentence that is longer than a window has to be cut for the model anyway.
    """
    cuts, begin, last = [], 0, 0
    for end in [*ends, len(text)]:
        while end - begin > _WINDOW:
            begin = last if last > begin else begin + _WINDOW
            cuts.append(begin)
        last = end
    return _split_at(cuts, text)


def halve(text: str) -> tuple[str, str] | None:
    """Cut `text` in two near its middle: between sentences, else clauses, else words, else characters.

    Returns None if no cut leaves a letter in both halves.
    """
    first, last = _TRANSLATABLE.search(text), _TRANSLATABLE.search(text[::-1])
    if first is None or last is None:
        return None
    # A cut leaves a letter in both halves if it lies after the first of them and not after the last.
    possible = range(first.end(), len(text) - last.start())
    middle = len(text) / 2
    for cuts, reach in (  # reach: largest distance from the middle, relative to the length
        ((m.end() for m in _SENTENCE_END.finditer(text)), 0.25),
        ((m.end() for m in _CLAUSE_END.finditer(text)), 0.25),
        ((m.end() for m in _SPACE.finditer(text)), 0.5),
        (_between_characters(text), 0.5),
    ):
        within = [cut for cut in cuts if cut in possible and abs(cut - middle) <= reach * len(text)]
        if within:
            cut = min(within, key=lambda cut: abs(cut - middle))
            return text[:cut], text[cut:]
    return None


def _between_characters(text: str) -> Iterator[int]:
    """Yield positions near the middle that do not separate a letter from its accents or the parts of an emoji."""
    begin = max(1, len(text) // 2 - 500)
    return (i for i in range(begin, min(len(text), begin + 1000)) if not _joined(text[i - 1], text[i]))


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


def after_abbreviation(text: str, end: int) -> bool:
    """Return whether `text[:end]` ends with the full stop of an abbreviation, an initial or an ordinal number."""
    before = text[max(0, end - 24) : end]
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
    begin = len(text) - len(text.lstrip())
    yield Span(text[:begin], False)
    yield Span(core, True)
    yield Span(text[begin + len(core) :], False)


def _merge(spans: list[Span]) -> list[Span]:
    """Merge adjacent copied spans and drop empty ones."""
    merged: list[Span] = []
    for translate, group in groupby((span for span in spans if span.text), key=lambda span: span.translate):
        adjacent = list(group)
        merged += adjacent if translate else [Span("".join(span.text for span in adjacent), False)]
    return merged
