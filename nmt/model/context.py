"""Fixed contexts: the sequence-to-sequence model without attention, where one vector must hold the whole source.

In the way of the data: encoder -> **context** -> decoder, in place of an attention. The classes have the interface of
`Attention`, so the decoder does not distinguish between the two.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nmt.model.attention import Attention
from nmt.search.interface import Memory


class FixedContext(Attention):
    """The encoder's final state as the context of every time step: c_i = h_S (Cho et al. 2014)."""

    def __init__(self, memory_size: int) -> None:
        super().__init__(memory_size, query_dependent=False)

    def memory(self, states: Tensor, summary: Tensor, mask: Tensor) -> Memory:
        """Keep the `summary` (B, D) alone, as a single value; there are no keys."""
        values = summary.unsqueeze(1)
        return Memory(values, values[:, :, :0], mask)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return the same context (B, Q, D) for each `query` (B, Q, H), and weights (B, Q, S) of zero."""
        return memory.values.expand(-1, query.size(1), -1), zero_weights(query, memory)


class NoContext(Attention):
    """No context: the decoder has the source in its initial state alone (Sutskever et al. 2014). The width is 0."""

    def __init__(self) -> None:
        super().__init__(0, query_dependent=False)

    def memory(self, states: Tensor, summary: Tensor, mask: Tensor) -> Memory:
        """Keep no values and no keys."""
        empty = summary.unsqueeze(1)[:, :, :0]
        return Memory(empty, empty, mask)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return an empty context (B, Q, 0), and weights (B, Q, S) of zero."""
        return memory.values.expand(-1, query.size(1), -1), zero_weights(query, memory)


def zero_weights(query: Tensor, memory: Memory) -> Tensor:
    """Return attention weights (B, Q, S) of zero."""
    return memory.mask.new_zeros([query.size(0), query.size(1), memory.mask.size(1)], dtype=torch.float32)
