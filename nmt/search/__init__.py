"""Beam search and the engine that runs it. Needs torch, and of `nmt` errors, device and special ids only."""
