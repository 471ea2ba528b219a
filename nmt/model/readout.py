"""Readouts: one vector per target position, from which the output layer computes the logits.

In the way of the data: decoder -> **readout** -> output layer. A readout takes the decoder's `outputs`, the `context`
and the decoder's `inputs`, each (N, T, ·), and returns (N, T, E).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DeepOutput(nn.Module):
    """r_t = tanh(W [s_t ; c_t ; y_{t-1}] + b) (Pascanu et al. 2014; Bahdanau et al. 2015, A.2.2, there with maxout)."""

    def __init__(self, state_size: int, context_size: int, input_size: int, output_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(state_size + context_size + input_size, output_size)

    def forward(self, outputs: Tensor, context: Tensor, inputs: Tensor) -> Tensor:
        """Compute the readouts (N, T, E)."""
        return torch.tanh(self.linear(torch.cat([outputs, context, inputs], dim=-1)))


class AttentionalOutput(nn.Module):
    """r_t = tanh(W [s_t ; c_t] + b) (Luong et al. 2015, eq. 5): the previous piece enters through the state alone."""

    def __init__(self, state_size: int, context_size: int, input_size: int, output_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(state_size + context_size, output_size)

    def forward(self, outputs: Tensor, context: Tensor, inputs: Tensor) -> Tensor:
        """Compute the readouts (N, T, E); `inputs` are not used."""
        return torch.tanh(self.linear(torch.cat([outputs, context], dim=-1)))
