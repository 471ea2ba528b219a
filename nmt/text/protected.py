"""Parts of a text that a translation must carry unharmed: placeholders, tags, addresses, numbers.

In the way of the data: text -> **protect** -> segments -> ... -> translation -> **restore** -> text. `protect` replaces
each part by a stand-in, a single character of a private-use plane. To the model it is an unknown piece, so nothing of
it is translated, cut in two or changed; where the model copies it (see `Translator`), it is in its place already.
`restore` puts the others where the attention says:

    replace   the words that were generated from the stand-in, if there are any
    insert    else after the translation of the word before it
    append    else, and in alternatives, at the end of the text

so that every part is in the result exactly as often as in the source. All functions are pure and take linear time.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby

from nmt.text.alignment import Word

FIRST, LAST = 0xF0000, 0x10FFFF
"""stand-ins; a text with more protected parts than that leaves the rest unprotected"""

# Every quantifier is bounded, or ends where its alternative could begin again, so that no text takes quadratic time.
_PARTS = re.compile(
    r"""(?:
      (?:https?|ftp)://[^\s<>"']+(?<![.,;:!?)\]])         # addresses, without the punctuation after them
    | \bwww\.[^\s<>"']+(?<![.,;:!?)\]])
    | (?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}
    | \$?\{\{[^{}\n]{1,100}\}\} | \{%[^{}\n]{1,100}%\} | [$\#%]?\{[^{}\s]{0,100}\}   # {name}, ${n}, {{ n }}
    | %\(\w{1,64}\)[-+0\ \#]{0,3}\d{0,3}(?:\.\d{1,3})?[hlqjztL]{0,2}[A-Za-z]        # %(name)s
    | (?<!\d)%(?:\d{1,2}\$)?[-+0\#]{0,3}\d{0,3}(?:\.\d{1,3})?[hlqjztL]{0,2}[diouxXeEfFgGaAcsrp@](?![A-Za-z])
    | %%
    | \[X[^\[\]\s]{1,64}X\]                                # Weblate's
    | </?[A-Za-z][^<>\n]{0,500}>                           # tags
    | &(?:\#\d{1,7}|\#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,30});
    | [\U000F0000-\U0010FFFF]                              # what could be taken for a stand-in
    )+""",
    re.VERBOSE,
)
_STAND_IN = re.compile("[\U000f0000-\U0010ffff]")
_LINE_END = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_LONG_NUMBER = 3
"""digits; a shorter number may be a word in the translation"""
_MOSTLY = 0.5
"""share of a word's attention that makes a stand-in its source"""
_MOST_WORDS = 64
"""words from one position of the source that are considered; there are not more in earnest"""
_OPENING = "([{<«‹„“‘\"'’-–—/"
_CLOSING = ".,;:!?…)]}>»›”’\"'-–—/"


@dataclass(frozen=True)
class Protected:
    """A text with stand-ins in place of its protected parts."""

    text: str
    parts: Mapping[str, str] = field(default_factory=dict)
    """stand-in -> part"""

    def fill(self, text: str) -> str:
        """Return `text` with the parts in place of their stand-ins."""
        return _STAND_IN.sub(lambda found: self.parts.get(found[0], found[0]), text) if self.parts else text

    def places(self) -> list[int]:
        """Return for each character of `text`, and for its end, its place in the text with the parts."""
        return list(accumulate((len(self.parts.get(sign, sign)) for sign in self.text), initial=0))


def protect(text: str, first: int = FIRST) -> Protected:
    """Replace each protected part of `text` by a stand-in of its own, from the character `first`."""
    parts: dict[str, str] = {}

    def stand_in(found: re.Match[str]) -> str:
        number = first + len(parts)
        if number > LAST:
            return found[0]
        parts[chr(number)] = found[0]
        return chr(number)

    return Protected(_PARTS.sub(stand_in, text), parts)


def is_restored(protected: Protected, text: str) -> bool:
    """Return whether `text`, a translation of `protected.text`, needs no `restore`: no parts, and all its numbers."""
    if protected.parts or not _NUMBER.search(protected.text):
        return not protected.parts
    given, found = (Counter(map(_digits, _NUMBER.findall(one))) for one in (protected.text, text))
    return not given - found


def lost(source: str, text: str) -> list[str]:
    """Return the protected parts and the numbers of `source` that its translation `text` lacks."""
    parts = protect(source)
    absent = [part for part in dict.fromkeys(parts.parts.values()) if part not in text]
    found = {_digits(number) for number in _NUMBER.findall(text)}
    return absent + [number for number in _NUMBER.findall(parts.text) if _digits(number) not in found]


def restore(protected: Protected, words: Sequence[Word]) -> list[Word]:
    """Return the words of a translation of `protected.text` with each stand-in of its parts once, and its numbers."""
    source = protected.text
    wanted = {found[0]: found.start() for found in _STAND_IN.finditer(source) if found[0] in protected.parts}
    words, numbers = repair_numbers(source, words)
    present = {word.text for word in words}
    missing = [(begin, part) for part, begin in wanted.items() if part not in present]
    return _tidy(place(source, words, sorted(missing + numbers)), source, wanted)


def restore_text(protected: Protected, text: str) -> str:
    """Return `text`, a translation of `protected.text` without alignment, with all parts; missing ones at its end."""
    seen: set[str] = set()

    def fill(found: re.Match[str]) -> str:
        again = found[0] in seen
        seen.add(found[0])
        return "" if again else protected.parts.get(found[0], found[0])

    filled = _STAND_IN.sub(fill, text) if protected.parts else text
    return " ".join([filled, *(part for stand_in, part in protected.parts.items() if stand_in not in seen)])


def repair_numbers(source: str, words: Sequence[Word]) -> tuple[list[Word], list[tuple[int, str]]]:
    """Replace wrong numbers among `words` by those of `source`; return the words, and the numbers to be placed.

    Numbers are compared by their digits, since 1,000.5 may become 1.000,5. A number of the source that is not among the
    words replaces a number that was generated from it. If there is none, it is left, since it may be a word of the
    translation, unless it has three digits or more: then it has to be placed, (position in the source, number).
    """
    given = list(_NUMBER.finditer(source))
    lacking = Counter(_digits(number[0]) for number in given)
    lacking -= Counter(_digits(number) for word in words for number in _NUMBER.findall(word.text))
    if not lacking:
        return list(words), []
    expected = {_digits(number[0]) for number in given}
    starts = [number.start() for number in given]
    wrong: dict[int, int] = {}  # number of the source, by its index -> index of the word
    for n, word in enumerate(words):
        at = bisect_right(starts, word.source) - 1
        if word.text[:1].isdigit() and at >= 0 and word.source < given[at].end() and _digits(word.text) not in expected:
            wrong.setdefault(at, n)
    repaired, missing = list(words), []
    for at, number in enumerate(given):
        digits = _digits(number[0])
        if lacking[digits] <= 0:
            continue
        if at in wrong:
            repaired[wrong[at]] = replace(words[wrong[at]], text=number[0])
        elif len(digits) >= _LONG_NUMBER:
            missing.append((number.start(), number[0]))
        lacking[digits] -= 1
    return repaired, missing


def place(source: str, words: Sequence[Word], missing: Sequence[tuple[int, str]]) -> list[Word]:
    """Return `words` with all `missing` texts, each with its position in the source, in its order.

    A text replaces the words that mostly come from its position, in the longest row of them. Without such words it
    follows the translation of what precedes it in its line of `source`, or else precedes that of what follows.
    """
    if not missing:
        return list(words)
    by_source = sorted((word.source, n) for n, word in enumerate(words) if word.is_aligned(source))
    sources = [source for source, _ in by_source]
    lines = [0, *(found.end() for found in _LINE_END.finditer(source))]
    removed: set[int] = set()
    added: dict[int, list[Word]] = {}  # by the index of the word after them
    leading: set[int] = set()  # of these, where the first one takes the space of the word
    end = len(words) - 1 if words and not words[-1].text else len(words)
    for position, text in missing:
        at = bisect_right(sources, position)  # by_source[:at] are words from before the position, or from it
        first = bisect_left(sources, sources[at - 1]) if at else 0
        group = [n for _, n in by_source[max(first, at - _MOST_WORDS) : at]]  # the last of these
        row = _longest_row([n for n in group if n not in removed and _comes_from(words[n], position)])
        in_line = bool(group) and sources[at - 1] >= lines[bisect_right(lines, position) - 1]
        if row:
            removed.update(row)
            where = row[0]
        elif group and (in_line or at == len(sources)):
            where = group[-1] + 1
        else:
            where = by_source[at][1] if at < len(by_source) else end
        if (row or not in_line) and where < end and where not in added:
            leading.add(where)
        added.setdefault(where, []).append(Word("", text, position, position + 1, 1.0))
    placed: list[Word] = []
    for n, word in enumerate([*words, Word("", "")]):
        new = added.get(n, [])
        if n in leading:
            new[0] = replace(new[0], space=word.space)
            word = replace(word, space="")
        # Stand-ins are spaced later; a number is not.
        for one in new:
            apart = bool(placed) and placed[-1].text and not one.space and one.text[0].isdigit()
            placed.append(replace(one, space=" ") if apart else one)
        if n < len(words) and n not in removed:
            apart = bool(new) and new[-1].text[-1].isdigit() and not word.space and word.text[:1].isalnum()
            placed.append(replace(word, space=" ") if apart else word)
    return placed


def _comes_from(word: Word, position: int) -> bool:
    return word.source <= position < word.source_end and word.weight >= _MOSTLY and word.text.isalnum()


def _longest_row(numbers: list[int]) -> list[int]:
    """Return the longest row of consecutive numbers, the first of several; none of none."""
    if not numbers:
        return []
    rows = [[n for _, n in row] for _, row in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])]
    return max(rows, key=len)


def _tidy(words: Iterable[Word], source: str, wanted: Mapping[str, int]) -> list[Word]:
    """Remove stand-ins that occur again, and separate stand-ins from their neighbours unless the source does not."""
    tidy: list[Word] = []
    seen: set[str] = set()
    for word in words:
        if word.text in seen:
            continue
        before, after = tidy[-1].text[-1:] if tidy else "", word.text[:1]
        joined = bool(word.space)
        if after in wanted:
            seen.add(word.text)
            word = replace(word, source=wanted[after], source_end=wanted[after] + 1)
            joined |= before in _OPENING or _joins(source[max(0, wanted[after] - 1) : wanted[after]], before)
        elif before in wanted:
            joined |= after in _CLOSING or _joins(source[wanted[before] + 1 : wanted[before] + 2], after)
        else:
            joined = True
        tidy.append(word if joined else replace(word, space=" "))
    return tidy


def _joins(sign: str, other: str) -> bool:
    """Return whether a stand-in that joins `sign` in the source joins `other` in the translation."""
    return sign.isalnum() or sign == other


def _digits(number: str) -> str:
    return re.sub(r"\D", "", number)
