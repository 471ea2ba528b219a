"""Independent seeds for the parts of a run that draw random numbers, derived from one seed."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: int | str) -> int:
    """Return a 32-bit seed from numbers and names by hashing: unlike sums, neighbouring inputs give unrelated seeds."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")
