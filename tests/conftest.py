"""What all tests share."""

from __future__ import annotations


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes without their content: compressed ones hold the time of day, and workers must collect the same ids."""
    return "bytes" if isinstance(val, bytes) else None
