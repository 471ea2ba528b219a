"""Errors that a user can fix; each message is one line that names the thing and the remedy.

NMTError
├── ConfigError       an unknown key, a value out of range
├── CorpusError       parallel text: unequal line counts, invalid UTF-8, empty files
├── TokenizerError    a vocabulary too large for the text, a damaged tokenizer
├── CheckpointError   a run folder or checkpoint that is missing, damaged or of another model
├── ArtifactError     an exported file that is missing, damaged or of a newer format
├── SearchError       search options out of range
├── TranslationError  a text that cannot be translated
└── MissingPackageError   a package of an optional extra that is not installed
"""

from __future__ import annotations

# Top-level modules by the extra of pyproject.toml that installs them; "" is the core install.
_EXTRAS = {
    "": ("torch", "sentencepiece", "tqdm"),
    "train": ("numpy", "pydantic", "yaml", "sacrebleu", "sentencex", "tensorboard"),
    "service": (
        "fastapi",
        "httptools",
        "prometheus_client",
        "py3langid",
        "pydantic_settings",
        "python_multipart",
        "uvicorn",
        "uvloop",
    ),
    "plot": ("matplotlib",),
}
EXTRA_OF = {module: extra for extra, modules in _EXTRAS.items() for module in modules}
"""the extra that installs a third-party module, by the module's top-level name"""


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


class MissingPackageError(NMTError):
    """A third-party package that is not installed."""

    def __init__(self, what: str, module: str) -> None:
        """`what` (a command, a file, a feature) needs `module`, a key of `EXTRA_OF`."""
        extra = EXTRA_OF[module]
        if extra:
            remedy = f"pip install -e '.[{extra}]' in the project's folder"
        else:  # most likely another Python than the one the project was installed for
            remedy = "activate the project's virtual environment, or pip install -e . in its folder"
        super().__init__(f"{what} needs {module}, which is not installed: {remedy}")
