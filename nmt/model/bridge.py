"""The bridge: the decoder's state before the first piece, from what the encoder has read.

In the way of the data: encoder -> **bridge** -> decoder. A bridge takes the encoder's `states` (B, S, D), its `summary`
(B, D) and the `mask` (B, S) of real pieces, and gives the first outputs of the decoder's layers, each (B, H).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LastState(nn.Module):
    """s_0 = tanh(W h + b) with h the last state of each direction (Bahdanau et al. 2015, A.2.2)."""

    def __init__(self, memory_size: int, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.initial = nn.Linear(memory_size, layers * hidden_size)

    def forward(self, states: Tensor, summary: Tensor, mask: Tensor) -> list[Tensor]:
        """A state (B, H) for each layer."""
        return list(torch.tanh(self.initial(summary)).chunk(self.layers, dim=-1))


class MeanState(nn.Module):
    """s_0 = tanh(W h + b) with h the mean of all states (Sennrich et al. 2017, Nematus, eq. 1)."""

    def __init__(self, memory_size: int, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.initial = nn.Linear(memory_size, layers * hidden_size)

    def forward(self, states: Tensor, summary: Tensor, mask: Tensor) -> list[Tensor]:
        """A state (B, H) for each layer."""
        real = mask.unsqueeze(2)
        mean = states.masked_fill(~real, 0.0).sum(1) / real.sum(1)
        return list(torch.tanh(self.initial(mean.to(states.dtype))).chunk(self.layers, dim=-1))


class ZeroState(nn.Module):
    """s_0 = 0: the decoder begins knowing nothing."""

    def __init__(self, memory_size: int, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.hidden_size = hidden_size

    def forward(self, states: Tensor, summary: Tensor, mask: Tensor) -> list[Tensor]:
        """A state (B, H) for each layer, each a tensor of its own: the search writes into them."""
        return [summary.new_zeros(summary.size(0), self.hidden_size) for _ in range(self.layers)]


BRIDGES = {"last": LastState, "mean": MeanState, "zero": ZeroState}
