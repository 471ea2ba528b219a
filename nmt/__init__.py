"""Attention sequence-to-sequence translation: train, export, search, translate.

As a library:

    from nmt import Translator

    translator = Translator.load("models/starter.pt")
    print(translator.translate("I have given the old man a red apple.").text)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Hypothesis", "NMTError", "SearchOptions", "Translation", "Translator", "__version__"]

if TYPE_CHECKING:
    from nmt.errors import NMTError
    from nmt.search.request import Hypothesis, SearchOptions
    from nmt.translation import Translation
    from nmt.translator import Translator

_HOMES = {
    "Hypothesis": "nmt.search.request",
    "NMTError": "nmt.errors",
    "SearchOptions": "nmt.search.request",
    "Translation": "nmt.translation",
    "Translator": "nmt.translator",
}


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import nmt` does not load torch.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
