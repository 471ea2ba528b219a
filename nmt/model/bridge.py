"""Bridges: the decoder's initial state, computed from the encoder's states.

In the way of the data: encoder -> **bridge** -> decoder. A bridge takes the encoder's `states` (B, S, D), its `summary`
(B, D) and the `mask` (B, S), True on real pieces. It returns the initial hidden state (B, H) of each decoder layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LastState(nn.Module):
    """s_0 = tanh(W h + b) with h the final encoder state of each direction (Bahdanau et al. 2015, A.2.2)."""

    def __init__(self, memory_size: int, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.initial = nn.Linear(memory_size, layers * hidden_size)

    def forward(self, states: Tensor, summary: Tensor, mask: Tensor) -> list[Tensor]:
        """Compute the hidden state (B, H) of each layer."""
        return list(torch.tanh(self.initial(summary)).chunk(self.layers, dim=-1))


class MeanState(nn.Module):
    """s_0 = tanh(W h + b) with h the mean of all encoder states (Sennrich et al. 2017, Nematus, eq. 1)."""

    def __init__(self, memory_size: int, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.initial = nn.Linear(memory_size, layers * hidden_size)

    def forward(self, states: Tensor, summary: Tensor, mask: Tensor) -> list[Tensor]:
        """Compute the hidden state (B, H) of each layer."""
        real = mask.unsqueeze(2)
        mean = states.masked_fill(~real, 0.0).sum(1) / real.sum(1)
        return list(torch.tanh(self.initial(mean.to(states.dtype))).chunk(self.layers, dim=-1))


class ZeroState(nn.Module):
    """s_0 = 0: the initial state carries nothing of the source."""

    def __init__(self, memory_size: int, hidden_size: int, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.hidden_size = hidden_size

    def forward(self, states: Tensor, summary: Tensor, mask: Tensor) -> list[Tensor]:
        """Return zeros (B, H) for each layer, in separate tensors because the search writes into them."""
        return [summary.new_zeros(summary.size(0), self.hidden_size) for _ in range(self.layers)]


BRIDGES = {"last": LastState, "mean": MeanState, "zero": ZeroState}
