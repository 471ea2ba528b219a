"""Terms whose translation a request prescribes.

The model translates the text as it is. Then the words that come from a term, by the attention weights, are replaced by
its translation, as it is given: inflection is left to the caller. Hiding the terms from the model instead, as protected
parts are, costs much more: the model has nothing to go by (docs/service.md has the figures).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nmt.text.alignment import Word
from nmt.text.protected import place

MOST_TERMS = 1000
MOST_CHARACTERS = 100  # of a term, and of its translation
MOST_WORDS = 10  # of a term
MOST_CONSIDERED = 64  # words from one term; there are not more in earnest
_TOKEN = re.compile(r"\w+|[^\S\n]+|\n|[^\w\s]")
_END = ""  # key of a term's translation in the tree of terms; no token is empty

Tree = dict[str, Any]


@dataclass(frozen=True)
class Term:
    """A term in a text, which begins at `begin` and ends before `end`."""

    begin: int
    end: int
    target: str


class Glossary:
    """Terms and their translations. A term matches whole words; in any letter case, if it has no capital itself."""

    def __init__(self, terms: Mapping[str, str]) -> None:
        self._exact: Tree = {}
        self._folded: Tree = {}
        for source, target in terms.items():
            plain = source == source.lower()
            tree = self._folded if plain else self._exact
            for token in _tokens(source.casefold() if plain else source):
                tree = tree.setdefault(token, {})
            tree[_END] = target

    def find(self, text: str) -> list[Term]:
        """Return the terms in a text, from left to right, the longest at each place. Takes linear time."""
        found = list(_TOKEN.finditer(text))
        exact = [_key(token[0]) for token in found]
        folded = [token.casefold() for token in exact]
        terms, n = [], 0
        while n < len(found):
            here = _longest(self._exact, exact, n), _longest(self._folded, folded, n)
            count, target = max(here, key=lambda one: one[0])
            if count:
                terms.append(Term(found[n].start(), found[n + count - 1].end(), target))
            n += max(1, count)
        return terms


def _key(token: str) -> str:
    """Return one form for all white space within a line."""
    return " " if token.isspace() and token != "\n" else token


def _tokens(text: str) -> list[str]:
    return [_key(found[0]) for found in _TOKEN.finditer(text)]


def _longest(tree: Tree, tokens: Sequence[str], begin: int) -> tuple[int, str]:
    """Return the number of tokens of the longest term that begins there, and its translation; 0 if there is none."""
    best = 0, ""
    for n in range(begin, min(len(tokens), begin + 2 * MOST_WORDS)):
        if tokens[n] not in tree:
            break
        tree = tree[tokens[n]]
        if _END in tree:
            best = n + 1 - begin, tree[_END]
    return best


def is_valid(text: str) -> bool:
    """Return whether a term or a translation is clean text of one line, and of a length that is allowed."""
    words = sum(not token.isspace() for token in _tokens(text[: MOST_CHARACTERS + 1]))
    return len(text) <= MOST_CHARACTERS and 1 <= words <= MOST_WORDS and text.isprintable() and text == text.strip()


def apply(source: str, words: Sequence[Word], terms: Sequence[Term]) -> tuple[list[Word], list[dict[str, str]]]:
    """Put the translations of the terms of `source` in their places among the words of its translation.

    Returns the words, and for each term how its place was found. present: the translation was there. aligned: it
    replaces the words that come from the term. guessed: no word does, so it follows the translation of what precedes.
    """
    if not terms:
        return list(words), []
    changed: list[Word | None] = list(words)
    begins = defaultdict(list)  # text -> its places, last first
    for n in reversed(range(len(words))):
        begins[words[n].text].append(n)
    by_source = sorted((word.source, n) for n, word in enumerate(words) if word.source >= 0 and word.text.isalnum())
    taken: set[int] = set()
    missing: list[tuple[int, str]] = []
    told = []
    for term in terms:
        row = _present(term.target, words, begins, taken)
        how = "present"
        if not row:
            at = bisect_left(by_source, (term.begin, -1))
            near = (n for place, n in by_source[at : at + MOST_CONSIDERED] if place < term.end and n not in taken)
            row = _longest_row(sorted(near))
            how = "aligned" if row else "guessed"
            if row:
                changed[row[0]] = replace(words[row[0]], text=term.target, source=term.begin, source_end=term.end)
                changed[row[0] + 1 : row[-1] + 1] = [None] * (len(row) - 1)
            else:
                missing.append((term.begin, term.target))
        taken.update(row)
        told.append({"term": source[term.begin : term.end], "translation": term.target, "placed": how})
    kept = [word for word in changed if word is not None]
    return (_spaced(place(source, kept, missing), {target for _, target in missing}) if missing else kept), told


def _present(target: str, words: Sequence[Word], begins: Mapping[str, list[int]], taken: set[int]) -> range:
    """Return the place of a translation that is among the words already; an empty one if there is none."""
    first, *others = (token for token in _tokens(target) if not token.isspace())
    places = begins.get(first, [])
    for k in reversed(range(max(0, len(places) - MOST_CONSIDERED), len(places))):
        row = range(places[k], places[k] + 1 + len(others))
        if [word.text for word in words[row.start + 1 : row.stop]] == others and taken.isdisjoint(row):
            del places[k]
            return row
    return range(0)


def _longest_row(numbers: Sequence[int]) -> range:
    """Return the longest row of consecutive numbers, the first of several."""
    best = row = range(0)
    for n in numbers:
        row = range(row.start, n + 1) if row and n == row.stop else range(n, n + 1)
        best = max(best, row, key=len)
    return best


def _spaced(words: Sequence[Word], added: set[str]) -> list[Word]:
    """Separate the words that were added from their neighbours."""
    spaced: list[Word] = []
    for word in words:
        before = spaced[-1].text if spaced else ""
        apart = (word.text in added or before in added) and before and word.text[:1].isalnum() and not word.space
        spaced.append(replace(word, space=" ") if apart else word)
    return spaced
