"""Padding of piece ids."""

from __future__ import annotations

import pytest
import torch

from nmt.search.padding import pad_ids
from nmt.text.special_ids import EOS, PAD


def test_rows_are_padded_to_the_longest() -> None:
    ids, lengths = pad_ids([(4, 5, EOS), [EOS], (6, EOS)])
    assert ids.tolist() == [[4, 5, EOS], [EOS, PAD, PAD], [6, EOS, PAD]]
    assert lengths.tolist() == [3, 1, 2]
    assert (ids.dtype, lengths.dtype) == (torch.int64, torch.int64)


@pytest.mark.parametrize("count", [1, 3])
def test_rows_without_pieces_have_width_0(count: int) -> None:
    """A batch in which no request has a prefix."""
    ids, lengths = pad_ids([()] * count)
    assert (ids.shape, ids.dtype) == ((count, 0), torch.int64)
    assert lengths.tolist() == [0] * count


def test_the_tensors_are_on_the_device() -> None:
    assert {tensor.device.type for tensor in pad_ids([(4, EOS)], torch.device("meta"))} == {"meta"}
