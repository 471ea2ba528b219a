"""What the tests of the service share."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """asyncio only: that is what the server runs on."""
    return "asyncio"
