"""Attention: where to look in the source for each target piece.

In the way of the data: encoder -> **attention** -> decoder. The encoder's states become a `Memory`, made once a
sentence; the decoder asks it with queries, one or many at a time.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a NamedTuple's string annotations (pytorch#95858).
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Memory(NamedTuple):
    """What the decoder may look at: the encoded source sentences."""

    values: Tensor
    """(B, S, D) encoder states"""
    keys: Tensor
    """(B, S, A) the values, projected once for the energies"""
    mask: Tensor
    """(B, S) bool, True on real pieces, False on padding"""


class BahdanauAttention(nn.Module):
    """Additive attention: a small perceptron scores each source state (Bahdanau et al. 2015, A.1.2).

        e_ij = v_a^T tanh(W_a s_i + U_a h_j)        alpha_i = softmax(e_i)        c_i = sum_j alpha_ij h_j

    with s_i a decoder state (the query), h_j an encoder state (a value) and U_a h_j the key. All queries of a sentence
    are asked at once: its K beams while decoding, its T target positions while training.
    """

    def __init__(self, query_size: int, memory_size: int, attention_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, attention_size)  # W_a
        self.key = nn.Linear(memory_size, attention_size, bias=False)  # U_a
        self.energy = nn.Parameter(torch.empty(attention_size))  # v_a
        nn.init.uniform_(self.energy, -(attention_size**-0.5), attention_size**-0.5)

    def memory(self, values: Tensor, mask: Tensor) -> Memory:
        """Project the encoder states `values` (B, S, D) to keys; `mask` (B, S) is True on real pieces."""
        return Memory(values, self.key(values), mask)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Look up `query` (B, Q, H) in the memory of B sentences.

        Returns the context (B, Q, D) and the attention weights (B, Q, S) in float32, zero on padding.
        """
        hidden = torch.tanh(self.query(query).unsqueeze(2) + memory.keys.unsqueeze(1))  # (B, Q, S, A)
        energies = torch.matmul(hidden, self.energy.to(hidden.dtype))  # (B, Q, S)
        return attend(energies, memory)


def attend(energies: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
    """Normalise `energies` (B, Q, S) over the real source pieces and sum the values by them.

    The softmax is at least in float32: in half precision the weights of a long sentence no longer sum to one.
    Returns the context (B, Q, D) and the weights (B, Q, S) in float32.
    """
    if energies.dtype != torch.float64:
        energies = energies.float()
    energies = energies.masked_fill(~memory.mask.unsqueeze(1), float("-inf"))
    weights = torch.softmax(energies, dim=-1)
    return torch.bmm(weights.to(memory.values.dtype), memory.values), weights
