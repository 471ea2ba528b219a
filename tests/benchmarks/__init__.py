"""Benchmarks: `python -m tests.benchmarks CASE...`, see README.md.

A regular package, so that `--tree DIR` exchanges `nmt` and `service` but never the benchmarks themselves.
"""
