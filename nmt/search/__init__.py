"""Beam search and the engine that runs it. Needs torch, and of `nmt` the errors and the special ids only."""
