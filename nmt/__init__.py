"""Attention sequence-to-sequence translation: train, export, search, translate."""

__version__ = "0.1.0"
