"""Padding: rows of piece ids as one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nmt.text.special_ids import PAD


def pad_ids(rows: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Pad B rows of piece ids with PAD to the length L of the longest; B is at least 1, L may be 0.

    Returns the padded ids (B, L) and the lengths of the rows (B,), both int64 on `device`.
    """
    lengths = [len(row) for row in rows]
    longest = max(lengths)
    ids = [[*row, *[PAD] * (longest - len(row))] for row in rows]
    return torch.tensor(ids, dtype=torch.int64, device=device), torch.tensor(lengths, device=device)
