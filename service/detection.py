"""Which language a text is in, among the languages served: py3langid's classifier, which is optional."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

READ_CHARACTERS = 2000
"""of each text; more of it would not change the answer"""
SURE = 60.0
"""percent from which a text's own classification counts"""
# Codes of the classifier for codes of ours that it does not have.
_LABELS = {"nb": "no", "pt-br": "pt", "zh-hans": "zh", "zh-hant": "zh", "pb": "pt", "zt": "zh"}


@dataclass(frozen=True)
class Detected:
    """A language, as a normalised code, and how sure that is, in percent."""

    language: str
    confidence: float


class Detector:
    """A classifier for some languages, given as normalised codes. Loading it takes a second, and 50 MB to stay.

    It never names a language that it was not given. A language that py3langid does not know is never found, and of two
    that are one to it (two kinds of Chinese) only the first is.
    """

    def __init__(self, languages: Sequence[str]) -> None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        whole = LanguageIdentifier.from_model_file(MODEL_FILE)
        known = set(whole.labels)
        self._codes: dict[str, str] = {}
        for code in languages:
            label = next((one for one in (code, _LABELS.get(code), code.partition("-")[0]) if one in known), None)
            if label is not None:
                self._codes.setdefault(label, code)
        whole.set_languages(self._codes)
        # A new one with copies of the columns in use: `whole` keeps those of all languages in memory.
        self._identifier = LanguageIdentifier(
            whole.nb_ptc.copy(),
            whole.nb_pc.copy(),
            whole.nb_classes,
            whole.tk_nextmove,
            whole.tk_output,
            norm_probs=True,
            tk_row=whole.tk_row,
        )

    def rank(self, text: str) -> list[Detected]:
        """Return all languages of a text, best first; each with 0 percent if the text has no letter."""
        text = text[:READ_CHARACTERS]
        if not any(map(str.isalpha, text)) or not self._codes:
            return [Detected(code, 0.0) for code in self._codes.values()]
        ranked = self._identifier.rank(text)
        return [Detected(self._codes[label], round(100.0 * share, 1)) for label, share in ranked]

    def detect(self, texts: Sequence[str], sources: Sequence[str]) -> list[Detected]:
        """Return the language of each text.

        A text that is too short or too mixed to tell takes the language of all texts together, and if that is no surer,
        the likeliest of ``sources``, which can be translated: at least one.
        """
        together = self.rank(" ".join(text[: READ_CHARACTERS // len(texts) + 20] for text in texts))
        found = []
        for text in texts:
            own = self.rank(text)
            best = next((one[0] for one in (own, together) if one and one[0].confidence >= SURE), None)
            if best is None:
                likely = (one for one in [*own, *together] if one.language in sources and one.confidence > 0)
                best = next(likely, Detected(sources[0], 0.0))
            # The confidence is that of the text itself, also where the others decided.
            confidence = next((one.confidence for one in own if one.language == best.language), 0.0)
            found.append(Detected(best.language, confidence))
        return found


@lru_cache(maxsize=1)
def detector(languages: tuple[str, ...]) -> Detector | None:
    """Return the detector for these languages, loaded once; None where the classifier is not installed."""
    return Detector(languages) if find_spec("py3langid") else None
