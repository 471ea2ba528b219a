"""Language codes in the spellings that clients use, and the English names of the languages."""

from __future__ import annotations

# Both forms are accepted and equivalent.
ALIASES = {"pb": "pt-BR", "zh": "zh-Hans", "zt": "zh-Hant"}

NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish",
    "de": "German", "el": "Greek", "en": "English", "eo": "Esperanto", "es": "Spanish", "et": "Estonian",
    "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French", "ga": "Irish", "gl": "Galician",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "is": "Icelandic",
    "it": "Italian", "ja": "Japanese", "ko": "Korean", "la": "Latin", "lt": "Lithuanian", "lv": "Latvian",
    "ms": "Malay", "nb": "Norwegian", "nl": "Dutch", "pl": "Polish", "pt": "Portuguese",
    "pt-BR": "Portuguese (Brazil)", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sq": "Albanian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "th": "Thai", "tl": "Tagalog",
    "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh-Hans": "Chinese",
    "zh-Hant": "Chinese (traditional)",
}  # fmt: skip


def name(code: str) -> str:
    """Return the English name of a language, or its code if the name is not known."""
    return NAMES.get(ALIASES.get(code, code), code)


def normalise(code: str) -> str:
    """Return one form for all spellings of a code: lower case, `-` instead of `_`, aliases resolved."""
    plain = code.strip().replace("_", "-").lower()
    return ALIASES.get(plain, plain).lower()
