"""Seeds derived from numbers and names."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: int | str) -> int:
    """A 32-bit seed from numbers and names; unlike a sum, neighbours share nothing."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")
