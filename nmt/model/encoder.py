"""The encoder: computes a state for each piece of the source sentence.

In the way of the data: embedded source -> **encoder** -> attention.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a string `Final[...]`.
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from nmt.model.connections import NoSkip
from nmt.model.dropout import VariationalDropout
from nmt.model.layers import LayerOptions
from nmt.model.recurrent import Recurrent


class ForwardLayer(nn.Module):
    """A recurrent layer that runs from the first position to the last."""

    def __init__(self, cell: Callable[[int, int], Recurrent], input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.size = hidden_size
        """width of the states"""
        self.forward_cell = cell(input_size, hidden_size)

    def forward(self, inputs: Tensor, flip: Tensor) -> Tensor:
        """Compute the states (B, S, H) of `inputs` (B, S, I). `flip` is not used."""
        states: Tensor = self.forward_cell(inputs, self.forward_cell.zero_state(inputs))[0]
        return states

    def final_state(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Select the state (B, D) at the last piece of each sentence from `states` (B, S, D)."""
        return states[torch.arange(states.size(0), device=states.device), lengths - 1]


class BidirectionalLayer(nn.Module):
    """Two recurrent layers, one per direction, with their states concatenated (Schuster & Paliwal 1997)."""

    def __init__(self, cell: Callable[[int, int], Recurrent], input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.size = 2 * hidden_size
        """width of the states"""
        self.forward_cell = cell(input_size, hidden_size)
        self.backward_cell = cell(input_size, hidden_size)

    def forward(self, inputs: Tensor, flip: Tensor) -> Tensor:
        """Compute the states (B, S, 2 * H) of `inputs` (B, S, I), given `flip` (B, S) from `flip_index`."""
        forward_states, _ = self.forward_cell(inputs, self.forward_cell.zero_state(inputs))
        backward_states, _ = self.backward_cell(reorder(inputs, flip), self.backward_cell.zero_state(inputs))
        return torch.cat([forward_states, reorder(backward_states, flip)], dim=-1)

    def final_state(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Select the final state of each direction, (B, D) in all, from `states` (B, S, D).

        The forward direction ends at the last piece, the backward direction at the first. With dense connections, D
        holds the states of several layers, each with both directions.
        """
        rows = torch.arange(states.size(0), device=states.device)
        last = states[rows, lengths - 1].unflatten(1, [-1, 2, self.size // 2])
        first = states[:, 0].unflatten(1, [-1, 2, self.size // 2])
        return torch.stack([last[:, :, 0], first[:, :, 1]], dim=2).flatten(1)


class Encoder(nn.Module):
    """A stack of recurrent layers over the source.

        y^l = dropout(LN(layer_l(x^l)))        x^{l+1} = connection_l(x^l, y^l)        x^1 = embedded source

    layer: the type of every layer, unidirectional or bidirectional. reverse: read the source from its end (Sutskever
    et al. 2014, 3.3); the states are returned in the order of the source all the same.
    """

    reverse: Final[bool]

    def __init__(
        self,
        options: LayerOptions,
        layer: type[ForwardLayer] | type[BidirectionalLayer],
        input_size: int,
        dropout: float,
        reverse: bool,
    ) -> None:
        super().__init__()
        self.reverse = reverse
        self.layers, self.norms, self.connections = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        size = input_size
        for depth in range(options.count):
            recurrent = layer(options.cell, size, options.hidden_size)
            connection = (options.connection if depth else NoSkip)(size, recurrent.size)
            self.layers.append(recurrent)
            self.norms.append(options.norm(recurrent.size))
            self.connections.append(connection)
            size = connection.size
        self.output_size = size
        """D, the width of the states"""
        self.dropout = VariationalDropout(dropout)

    def forward(self, embedded: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode `embedded` (B, S, E), whose sentences have `lengths` (B,) pieces.

        Returns the states (B, S, D), arbitrary on padding, and a summary (B, D): the final state of each direction.
        """
        flip = flip_index(lengths, embedded.size(1))
        states = reorder(embedded, flip) if self.reverse else embedded
        for layer, norm, connection in zip(self.layers, self.norms, self.connections):  # noqa: B905 (TorchScript: no strict=)
            states = connection(states, self.dropout(norm(layer(states, flip))))
        summary: Tensor = self.layers[0].final_state(states, lengths)  # type: ignore[operator]
        return reorder(states, flip) if self.reverse else states, summary


def flip_index(lengths: Tensor, size: int) -> Tensor:
    """Compute the index (B, S) that reverses each sentence within its own length and leaves padding in place.

    With it the backward layer starts at a sentence's last piece and never reads padding before the sentence. So the
    other sentences of the batch cannot change its states, and no packed sequences are needed.
    """
    position = torch.arange(size, device=lengths.device).unsqueeze(0)
    reversed_position = lengths.unsqueeze(1) - 1 - position
    return torch.where(reversed_position >= 0, reversed_position, position)


def reorder(inputs: Tensor, index: Tensor) -> Tensor:
    """Reorder the positions of `inputs` (B, S, ·) by `index` (B, S)."""
    return inputs.gather(1, index.unsqueeze(2).expand(-1, -1, inputs.size(2)))
