"""Beam search and the engine that drives it. Needs torch only."""
