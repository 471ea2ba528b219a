"""Encoder: the source sentence becomes a state for each of its pieces.

In the way of the data: embedded source -> **encoder** -> attention.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a string `Final[...]`.
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from nmt.model.connections import Connection, Straight
from nmt.model.dropout import VariationalDropout
from nmt.model.recurrent import Recurrent


class ForwardLayer(nn.Module):
    """One recurrent layer, from the first piece to the last."""

    def __init__(self, cell: Callable[[int, int], Recurrent], input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.size = hidden_size
        self.ahead = cell(input_size, hidden_size)

    def forward(self, inputs: Tensor, flip: Tensor) -> Tensor:
        """Encode `inputs` (B, S, I); returns (B, S, hidden)."""
        outputs: Tensor = self.ahead(inputs, self.ahead.zero_state(inputs))[0]
        return outputs

    def last(self, states: Tensor, lengths: Tensor) -> Tensor:
        """The state (B, D) at the end of each sentence, of `states` (B, S, D)."""
        return states[torch.arange(states.size(0), device=states.device), lengths - 1]


class BidirectionalLayer(nn.Module):
    """Two recurrent layers, one from each end, their states side by side (Schuster & Paliwal 1997)."""

    def __init__(self, cell: Callable[[int, int], Recurrent], input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.size = 2 * hidden_size
        self.ahead = cell(input_size, hidden_size)
        self.back = cell(input_size, hidden_size)

    def forward(self, inputs: Tensor, flip: Tensor) -> Tensor:
        """Encode `inputs` (B, S, I); `flip` (B, S) is from `flip_index`. Returns (B, S, 2 * hidden)."""
        ahead, _ = self.ahead(inputs, self.ahead.zero_state(inputs))
        back, _ = self.back(permute(inputs, flip), self.back.zero_state(inputs))
        return torch.cat([ahead, permute(back, flip)], dim=-1)

    def last(self, states: Tensor, lengths: Tensor) -> Tensor:
        """The last states (B, D): ahead at the end, back at the beginning. D may hold those of several layers."""
        rows = torch.arange(states.size(0), device=states.device)
        end = states[rows, lengths - 1].unflatten(1, [-1, 2, self.size // 2])
        begin = states[:, 0].unflatten(1, [-1, 2, self.size // 2])
        return torch.stack([end[:, :, 0], begin[:, :, 1]], dim=2).flatten(1)


class Encoder(nn.Module):
    """A stack of recurrent layers.

    cell: makes a recurrent layer of input and hidden size. connection: makes what stands around each layer above the
    first, see `nmt/connections.py`. reverse: read the source from its end (Sutskever et al. 2014, 3.3); the states come
    back in the order of the source all the same.
    """

    reverse: Final[bool]

    def __init__(
        self,
        cell: Callable[[int, int], Recurrent],
        layer: type[ForwardLayer] | type[BidirectionalLayer],
        input_size: int,
        hidden_size: int,
        layers: int,
        connection: Callable[[int, int], Connection],
        dropout: float,
        layer_norm: bool,
        reverse: bool,
    ) -> None:
        super().__init__()
        self.reverse = reverse
        self.layers, self.norms, self.connections = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        size = input_size
        for depth in range(layers):
            reader = layer(cell, size, hidden_size)
            connect = (connection if depth else Straight)(size, reader.size)
            self.layers.append(reader)
            self.norms.append(nn.LayerNorm(reader.size) if layer_norm else nn.Identity())
            self.connections.append(connect)
            size = connect.size
        self.output_size = size
        self.dropout = VariationalDropout(dropout)

    def forward(self, embedded: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode `embedded` (B, S, E), of which `lengths` (B,) pieces are real.

        Returns the states (B, S, D), arbitrary on padding, and a summary (B, D): the last state of each direction.
        """
        flip = flip_index(lengths, embedded.size(1))
        states = permute(embedded, flip) if self.reverse else embedded
        for layer, norm, connect in zip(self.layers, self.norms, self.connections):  # noqa: B905 (TorchScript: no strict=)
            states = connect(states, self.dropout(norm(layer(states, flip))))
        summary: Tensor = self.layers[0].last(states, lengths)  # type: ignore[operator]
        return permute(states, flip) if self.reverse else states, summary


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
