"""The form of a text that its translation keeps: outer quotation marks and brackets, and the mark at its end.

In the way of the data: segment -> **unwrap** -> pieces -> ... -> translation -> **end_like** -> text. A model that is
trained on sentences easily drops the quotation marks around one, and ends with a full stop what has none. What is
inside a sentence is left to the model. All functions are pure and take linear time.
"""

from __future__ import annotations

from nmt.text.segments import after_abbreviation

_CLOSING = {
    '"': '"',
    "'": "'",
    "“": "”",
    "„": "“”",
    "‘": "’",
    "‚": "‘’",
    "«": "»",
    "»": "«",
    "‹": "›",
    "(": ")",
    "[": "]",
    "「": "」",
    "『": "』",
    "（": "）",
}
_AMBIGUOUS = "'‘’"
"""could be apostrophes"""
_OPENING = {sign: "".join(o for o, c in _CLOSING.items() if sign in c) for sign in "".join(_CLOSING.values())}
_DEEPEST = 3
"""pairs that are looked for; so many are never nested, but a hostile text would take quadratic time"""
_STOPS = ".!…"
_MARKS = ".!?…:;,"
_STAND_INS = "\U000f0000"
_ASIAN = "\u0590"
"""scripts from here on have marks of their own"""


def unwrap(text: str) -> tuple[str, str, str]:
    """Return what stands before `text`, its core, and what stands after it, quotation marks and brackets only.

    A pair is taken off where it encloses everything, and a single mark where its partner is in another sentence.
    """
    begin, end = 0, len(text)
    for _ in range(_DEEPEST):
        core = text[begin:end]
        first, last = core[:1], core[-1:]
        closes = _closes(core)
        if closes:
            begin, end = begin + 1, end - closes
        elif first in _CLOSING and first not in _AMBIGUOUS and not _has(core[1:], _CLOSING[first]):
            begin += 1
        elif last in _OPENING and last not in _AMBIGUOUS and not _has(core[:-1], _OPENING[last]):
            end -= 1
        else:
            break
    core = text[begin:end]
    if not any(map(str.isalpha, core)):
        return "", text, ""
    begin += len(core) - len(core.lstrip())
    end -= len(core) - len(core.rstrip())
    return text[:begin], text[begin:end], text[end:]


def _closes(text: str) -> int:
    """Return how many characters at the end of `text` close the mark at its beginning, with a full stop after it."""
    closing = _CLOSING.get(text[:1], "")
    size = 2 if text[-1:] in _MARKS else 1
    inner, last = text[1:-size], text[-size : len(text) - size + 1]
    return size if closing and last and last in closing and not _has(inner, closing + text[0]) else 0


def _has(text: str, signs: str) -> bool:
    return any(sign in text for sign in signs)


def end_like(source: str, text: str) -> str:
    """Return `text`, a translation of `source`, with the mark at the end of `source`, or with none.

    A full stop and an exclamation mark may replace each other, since languages differ there.
    """
    if not source or not text:
        return text
    wanted, found = _mark(source), _mark(text)
    if wanted == found or (wanted in _STOPS and found in _STOPS and wanted and found):
        return text
    if not wanted:
        if not (source[-1].isalnum() or source[-1] >= _STAND_INS):
            return text  # maybe a mark of another script
        single = found and found in ".!" and len(text) > 1 and text[-2].isalnum()
        return text[:-1] if single and not after_abbreviation(text, len(text)) else text
    if not found:
        return text + wanted if _ends_in_word(text) and _ends_in_word(source.rstrip(_MARKS)) else text
    return text[:-1] + wanted if wanted in "?:" and found in ".!" and not text.endswith("..") else text


def _mark(text: str) -> str:
    return text[-1] if text[-1] in _MARKS else ""


def _ends_in_word(text: str) -> bool:
    """Return whether `text` ends with a letter, digit or protected part, in a script that has our marks."""
    last = text[-1:]
    return bool(last) and (last >= _STAND_INS or (last.isalnum() and last < _ASIAN))
