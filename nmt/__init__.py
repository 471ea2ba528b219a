"""Attention sequence-to-sequence translation: train, export, search, translate.

from nmt import Translator
Translator.load("models/starter.pt").translate(["I have given the old man a red apple."])[0].text
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["NMTError", "SearchOptions", "Translation", "Translator", "__version__"]

if TYPE_CHECKING:
    from nmt.errors import NMTError
    from nmt.search.request import SearchOptions
    from nmt.translator import Translation, Translator

_HOMES = {
    "NMTError": "nmt.errors",
    "SearchOptions": "nmt.search.request",
    "Translation": "nmt.translator",
    "Translator": "nmt.translator",
}


def __getattr__(name: str) -> Any:
    # Looked up when first used, so that `import nmt` (and every command's --help) does not load torch.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
