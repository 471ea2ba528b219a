"""What all tests share."""

from __future__ import annotations

import pytest


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes without their content: compressed ones hold the time of day, and workers must collect the same ids."""
    return "bytes" if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest test, which trains a model, first: the other process runs the rest at the same time."""
    items.sort(key=lambda item: item.path.name != "test_starter_answers.py")
