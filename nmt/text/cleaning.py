"""One way to clean a line, for training text and for what users send.

In the way of the data: between the raw text and the tokenizer. `clean` is idempotent, and the tokenizer gives clean
text without unknown characters back exactly.
"""

from __future__ import annotations

import re
import unicodedata

# Control characters carry nothing that can be translated; lone surrogates are no text at all; a byte order mark or a
# soft hyphen inside a sentence is left over from a file format. Joiners (ZWJ, ZWNJ) are kept: emoji and Indic scripts
# need them. A tab, line end or separator counts as white space and was replaced before.
_REMOVED = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\ufeff\ud800-\udfff]")
_SPACES = re.compile(r"\s+")


def clean(text: str) -> str:
    """`text` in NFC on one line: control characters removed, all white space collapsed to single spaces, trimmed.

    U+2581 (a low block, the tokenizer's sign for a space) becomes an underscore, its look-alike.
    """
    if text.isascii() and text.isprintable() and "  " not in text:  # nine lines of ten in English
        return text.strip()
    text = _REMOVED.sub("", _SPACES.sub(" ", text).replace("\u2581", "_"))
    # Removing may join two spaces, and composing may not: hence the second pass.
    return _SPACES.sub(" ", unicodedata.normalize("NFC", text)).strip()
