"""Errors that a user can fix; each message is one line that names the thing and the remedy.

NMTError
├── ConfigError       an unknown key, a value out of range
├── CorpusError       parallel text: unequal line counts, invalid UTF-8, empty files
├── TokenizerError    a vocabulary too large for the text, a damaged tokenizer
├── CheckpointError   a run folder or checkpoint that is missing, damaged or of another model
├── ArtifactError     an exported file that is missing, damaged or of a newer format
├── SearchError       search options out of range
└── TranslationError  a text that cannot be translated
"""

from __future__ import annotations


class NMTError(Exception):
    """Base of all errors that a user can fix; shown as one line, without a traceback."""


class ConfigError(NMTError):
    """An unknown key or a value out of range in a config or on the command line."""


class CorpusError(NMTError):
    """Parallel text that cannot be read or paired."""


class TokenizerError(NMTError):
    """A tokenizer that cannot be trained or read."""


class CheckpointError(NMTError):
    """A run folder or checkpoint that is missing, damaged or belongs to another model."""


class ArtifactError(NMTError):
    """An exported file that is missing, damaged or of a newer format."""


class SearchError(NMTError):
    """Search options out of range."""


class TranslationError(NMTError):
    """A text that cannot be translated."""
