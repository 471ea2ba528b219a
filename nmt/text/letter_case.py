"""Letter case: a text in ALL CAPS or in Title Case as a sentence, the form that a model knows.

In the way of the data: segment -> **as_sentence** -> pieces, if that takes fewer pieces (the abbreviation `USA` may be
a piece, and is left alone); the translation of ALL CAPS is in capitals again. Lower case is left to the model, which
learns it from `data.augment`. All functions are pure and take linear time.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W\d_]+")
_SHORT = 3
"""letters of words that are in lower case in titles, too: of, the"""
_TITLE_WORDS = 4
"""a title has as many words at least; fewer are more often a name"""


def is_upper(text: str) -> bool:
    """Return whether all letters of `text` are capitals, apart from an ß, and there are any."""
    return text.replace("ß", "").isupper()


def is_title(text: str) -> bool:
    """Return whether `text` has some words, and most of them, all long ones among them, begin with a capital."""
    words: list[str] = _WORD.findall(text)
    capitals = sum(word[0].isupper() for word in words)
    return (
        len(words) >= _TITLE_WORDS
        and 2 * capitals > len(words)
        and all(word[0].isupper() or len(word) <= _SHORT for word in words)
    )


def as_sentence(text: str) -> str:
    """Return `text` in lower case with its first letter as it is; of the same length."""
    lower = text.lower()
    if len(lower) != len(text):  # a few letters become two
        lower = "".join(small if len(small := sign.lower()) == 1 else sign for sign in text)
    first = _WORD.search(text)
    begin = first.start() if first else 0
    return lower[:begin] + text[begin : begin + 1] + lower[begin + 1 :]
