"""Encoder: the source sentence becomes a state for each of its pieces.

In the way of the data: embedded source -> **encoder** -> attention.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmt.dropout import VariationalDropout
from nmt.recurrent import LSTM


class BidirectionalLayer(nn.Module):
    """Two recurrent layers, one from each end, their states side by side (Schuster & Paliwal 1997)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.ahead = LSTM(input_size, hidden_size)
        self.back = LSTM(input_size, hidden_size)

    def forward(self, inputs: Tensor, flip: Tensor) -> Tensor:
        """Encode `inputs` (B, S, I); `flip` (B, S) is from `flip_index`. Returns (B, S, 2 * hidden)."""
        ahead, _ = self.ahead(inputs, self.ahead.zero_state(inputs))
        back, _ = self.back(permute(inputs, flip), self.back.zero_state(inputs))
        return torch.cat([ahead, permute(back, flip)], dim=-1)


class Encoder(nn.Module):
    """A stack of bidirectional recurrent layers, each of `hidden_size` a direction."""

    def __init__(self, input_size: int, hidden_size: int, layers: int, dropout: float, layer_norm: bool) -> None:
        super().__init__()
        self.output_size = 2 * hidden_size
        sizes = [input_size] + [self.output_size] * (layers - 1)
        self.layers = nn.ModuleList(BidirectionalLayer(size, hidden_size) for size in sizes)
        self.norms = nn.ModuleList(nn.LayerNorm(self.output_size) if layer_norm else nn.Identity() for _ in sizes)
        self.dropout = VariationalDropout(dropout)

    def forward(self, embedded: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode `embedded` (B, S, E), of which `lengths` (B,) pieces are real.

        Returns the states (B, S, D), arbitrary on padding, and a summary (B, D): the last state of each direction.
        """
        flip = flip_index(lengths, embedded.size(1))
        states = embedded
        for layer, norm in zip(self.layers, self.norms):  # noqa: B905 (TorchScript has no strict=)
            states = self.dropout(norm(layer(states, flip)))
        half = self.output_size // 2
        rows = torch.arange(states.size(0), device=states.device)
        summary = torch.cat([states[rows, lengths - 1, :half], states[:, 0, half:]], dim=-1)
        return states, summary


def flip_index(lengths: Tensor, size: int) -> Tensor:
    """Where each position (B, S) goes when a sentence is turned round within its own length; padding stays.

    Turned round so, the backward layer begins at a sentence's own end and never sees its padding: the batch that a
    sentence is in cannot change its states, and no packed sequences are needed.
    """
    position = torch.arange(size, device=lengths.device).unsqueeze(0)
    turned = lengths.unsqueeze(1) - 1 - position
    return torch.where(turned >= 0, turned, position)


def permute(inputs: Tensor, index: Tensor) -> Tensor:
    """Reorder the positions of `inputs` (B, S, F) by `index` (B, S)."""
    return inputs.gather(1, index.unsqueeze(2).expand(-1, -1, inputs.size(2)))
