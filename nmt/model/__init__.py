"""The model family, as layers."""
