"""A fixed context: the sequence-to-sequence model before attention, in which one vector must hold the whole source.

In the way of the data: encoder -> **context** -> decoder, in the place of an attention and with its interface. The
decoder does not know which of them it asks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nmt.model.attention import Attention
from nmt.search.interface import Memory


class FixedContext(Attention):
    """The encoder's last state, whatever the question: c_i = h_S at every step (Cho et al. 2014)."""

    def __init__(self, memory_size: int) -> None:
        super().__init__(memory_size, looks=False)

    def memory(self, states: Tensor, summary: Tensor, mask: Tensor) -> Memory:
        """Of the `states` (B, S, D) only the `summary` (B, D) is kept."""
        values = summary.unsqueeze(1)
        return Memory(values, values[:, :, :0], mask)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """The same context (B, Q, D) for each `query` (B, Q, H); it looks nowhere: the weights (B, Q, S) are zero."""
        return memory.values.expand(-1, query.size(1), -1), nowhere(query, memory)


class NoContext(Attention):
    """Nothing: the decoder has seen the source in its initial state only (Sutskever et al. 2014). The width is 0."""

    def __init__(self) -> None:
        super().__init__(0, looks=False)

    def memory(self, states: Tensor, summary: Tensor, mask: Tensor) -> Memory:
        """Nothing is kept."""
        nothing = summary.unsqueeze(1)[:, :, :0]
        return Memory(nothing, nothing, mask)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """An empty context (B, Q, 0), and weights (B, Q, S) of zero."""
        return memory.values.expand(-1, query.size(1), -1), nowhere(query, memory)


def nowhere(query: Tensor, memory: Memory) -> Tensor:
    """Attention weights (B, Q, S) of zero."""
    return memory.mask.new_zeros([query.size(0), query.size(1), memory.mask.size(1)], dtype=torch.float32)
