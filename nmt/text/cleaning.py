"""Clean a line of text, in the same way for training and for translation.

In the way of the data: raw text -> **cleaning** -> tokenizer. `clean` is idempotent, and the tokenizer reproduces clean
text without unknown characters exactly.
"""

from __future__ import annotations

import re
import unicodedata

SPACE = "\u2581"
"""SentencePiece's sign for a space inside pieces"""

# Control characters have no translation, lone surrogates are not valid text, and a byte order mark or a soft hyphen
# inside a sentence is a remnant of a file format. Joiners (ZWJ, ZWNJ) are kept: emoji and Indic scripts need them.
# Tabs, line ends and separators are white space and are replaced before these are removed.
_REMOVED = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\ufeff\ud800-\udfff]")
_SPACES = re.compile(r"\s+")


def clean(text: str) -> str:
    """Return `text` on one line in NFC, without control characters, with single spaces only, and trimmed.

    U+2581, which the tokenizer uses for a space inside pieces, becomes an underscore, which looks similar.
    """
    if text.isascii() and text.isprintable() and "  " not in text:  # a fast path for most English lines
        return text.strip()
    text = _REMOVED.sub("", _SPACES.sub(" ", text).replace(SPACE, "_"))
    # Removing a character between two spaces makes them adjacent, so spaces are collapsed a second time.
    return _SPACES.sub(" ", unicodedata.normalize("NFC", text)).strip()
