"""Attention: where to look in the source for each target piece.

In the way of the data: encoder -> **attention** -> decoder. The encoder's states become a `Memory`, made once a
sentence; the decoder asks it with queries, one or many at a time. What there was before attention, a fixed context, has
the same interface and is in `nmt/context.py`.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a NamedTuple's string annotations (pytorch#95858).
from typing import Final

import torch
from torch import Tensor, nn

from nmt.search.interface import Memory


class Attention(nn.Module):
    """The interface: `memory` once a sentence, `forward` for each question."""

    def __init__(self, context_size: int, looks: bool = True) -> None:
        super().__init__()
        self.context_size = context_size
        """width of a context"""
        self.looks = looks
        """whether the answer depends on the question"""

    def memory(self, states: Tensor, summary: Tensor, mask: Tensor) -> Memory:
        """Keep what can be asked for of the encoder's `states` (B, S, D) and its last state `summary` (B, D).

        `mask` (B, S) is True on real pieces.
        """
        raise NotImplementedError

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Look up `query` (B, Q, H) in the memory of B sentences.

        Returns the context (B, Q, D) and the attention weights (B, Q, S) in float32, zero on padding.
        """
        raise NotImplementedError


class BahdanauAttention(Attention):
    """Additive attention: a small perceptron scores each source state (Bahdanau et al. 2015, A.1.2).

        e_ij = v_a^T tanh(W_a s_i + U_a h_j)        alpha_i = softmax(e_i)        c_i = sum_j alpha_ij h_j

    with s_i a decoder state (the query), h_j an encoder state (a value) and U_a h_j the key. All queries of a sentence
    are asked at once: its K beams while decoding, its T target positions while training.
    """

    def __init__(self, query_size: int, memory_size: int, attention_size: int) -> None:
        super().__init__(memory_size)
        self.query = nn.Linear(query_size, attention_size)  # W_a
        self.key = nn.Linear(memory_size, attention_size, bias=False)  # U_a
        self.energy = nn.Parameter(torch.empty(attention_size))  # v_a
        nn.init.uniform_(self.energy, -(attention_size**-0.5), attention_size**-0.5)

    def memory(self, states: Tensor, summary: Tensor, mask: Tensor) -> Memory:
        """The states are the values, U_a h_j (B, S, A) the keys."""
        return Memory(states, self.key(states), mask)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """See `Attention`."""
        hidden = torch.tanh(self.query(query).unsqueeze(2) + memory.keys.unsqueeze(1))  # (B, Q, S, A)
        energies = torch.matmul(hidden, self.energy.to(hidden.dtype))  # (B, Q, S)
        return attend(energies, memory)


class MultiHeadAttention(Attention):
    """Several additive attentions side by side, each on its own share of the states (Chen et al. 2018, RNMT+).

        e^k_ij = v_k^T tanh(W_k s_i + U_k h_j)        c_i = [sum_j alpha^1_ij V_1 h_j ; sum_j alpha^2_ij V_2 h_j ; ...]

    The heads share `attention_size` and `memory_size` evenly. The weights shown are the mean of all heads.
    """

    heads: Final[int]

    def __init__(self, query_size: int, memory_size: int, attention_size: int, heads: int) -> None:
        super().__init__(memory_size)
        self.heads = heads
        self.query = nn.Linear(query_size, attention_size)
        self.key = nn.Linear(memory_size, attention_size, bias=False)
        self.value = nn.Linear(memory_size, memory_size, bias=False)
        self.energy = nn.Parameter(torch.empty(heads, attention_size // heads))
        nn.init.uniform_(self.energy, -((attention_size // heads) ** -0.5), (attention_size // heads) ** -0.5)

    def memory(self, states: Tensor, summary: Tensor, mask: Tensor) -> Memory:
        """The values V_k h_j (B, S, D) and the keys U_k h_j (B, S, A) of all heads side by side."""
        return Memory(self.value(states), self.key(states), mask)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """See `Attention`."""
        hidden = torch.tanh(self.query(query).unsqueeze(2) + memory.keys.unsqueeze(1))  # (B, Q, S, A)
        # One product for all heads: column k of the matrix holds v_k in the rows of head k.
        heads = torch.eye(self.heads, dtype=hidden.dtype, device=hidden.device)
        energy = self.energy.to(hidden.dtype).flatten().unsqueeze(1) * heads.repeat_interleave(self.energy.size(1), 0)
        energies = torch.matmul(hidden, energy)  # (B, Q, S, heads)
        weights = normalise(energies.permute(0, 3, 1, 2), memory.mask.unsqueeze(1))  # (B, heads, Q, S)
        values = memory.values.unflatten(2, [self.heads, -1]).transpose(1, 2)  # (B, heads, S, D / heads)
        contexts = torch.matmul(weights.to(values.dtype), values)
        return contexts.transpose(1, 2).flatten(2), weights.mean(1)


class LuongDotAttention(Attention):
    """The scalar product of decoder and encoder state, of one size (Luong et al. 2015, eq. 8).

        e_ij = s_i^T h_j / sqrt(D)

    Luong's has no divisor, and no layer norm either: the products of normalised states are so large that a softmax of
    them is all on one piece from the start, and learns nothing (Vaswani et al. 2017, 3.2.1).
    """

    def __init__(self, memory_size: int) -> None:
        super().__init__(memory_size)
        self.scale = memory_size**-0.5

    def memory(self, states: Tensor, summary: Tensor, mask: Tensor) -> Memory:
        """The states are their own keys."""
        return Memory(states, states, mask)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """See `Attention`."""
        return attend(torch.bmm(query * self.scale, memory.keys.transpose(1, 2)), memory)


class LuongGeneralAttention(Attention):
    """The scalar product with a matrix between the states (Luong et al. 2015, eq. 8).

        e_ij = s_i^T W_a h_j / sqrt(H)

    The divisor is as in `LuongDotAttention`; a smaller W_a would give the same energies, but change too fast.
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__(memory_size)
        self.scale = query_size**-0.5
        self.key = nn.Linear(memory_size, query_size, bias=False)  # W_a

    def memory(self, states: Tensor, summary: Tensor, mask: Tensor) -> Memory:
        """The states are the values, W_a h_j (B, S, H) the keys."""
        return Memory(states, self.key(states), mask)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """See `Attention`."""
        return attend(torch.bmm(query * self.scale, memory.keys.transpose(1, 2)), memory)


def normalise(energies: Tensor, mask: Tensor) -> Tensor:
    """The softmax of `energies` (..., S) over the real source pieces, where `mask` (..., 1, S) is True.

    At least in float32: in half precision the weights of a long sentence no longer sum to one.
    """
    if energies.dtype != torch.float64:
        energies = energies.float()
    return torch.softmax(energies.masked_fill(~mask.unsqueeze(-2), float("-inf")), dim=-1)


def attend(energies: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
    """Sum the values by the normalised `energies` (B, Q, S).

    Returns the context (B, Q, D) and the weights (B, Q, S) in float32.
    """
    weights = normalise(energies, memory.mask)
    return torch.bmm(weights.to(memory.values.dtype), memory.values), weights
