"""Attention: weighted sums of the encoder's states, with weights that depend on a state of the decoder.

In the way of the data: encoder -> **attention** -> decoder. The `Memory` of a sentence (values, keys and mask) is
computed once. Each query from the decoder then gives a context vector; several queries can be computed at once.
`nmt/model/context.py` has the fixed contexts of models without attention, with the same interface.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a NamedTuple's string annotations (pytorch#95858).
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from nmt.search.interface import Memory


class Attention(nn.Module):
    """The interface of all attentions: `memory` is called once per sentence, `forward` for each query."""

    def __init__(self, context_size: int, query_dependent: bool = True) -> None:
        super().__init__()
        self.context_size = context_size
        """width of a context vector"""
        self.query_dependent = query_dependent
        """whether the context depends on the query"""

    def memory(self, states: Tensor, summary: Tensor, mask: Tensor) -> Memory:
        """Compute the memory from the encoder's `states` (B, S, D) and its final states `summary` (B, D).

        `mask` (B, S) is True on real pieces.
        """
        raise NotImplementedError

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Compute the context (B, Q, D) of each `query` (B, Q, H) from the memory of B sentences.

        Returns the context and the attention weights (B, Q, S), in float32 and zero on padding.
        """
        raise NotImplementedError


class TanhLayer(nn.Module):
    """The hidden layer of an additive attention, without its linear maps: h = tanh(q + k).

    It is a module so that `nmt/model/inference.py` can replace it.
    """

    def keys(self, projected: Tensor) -> Tensor:
        """Return what the memory keeps of the projected states U_a h_j (B, S, A)."""
        return projected

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """Compute the hidden layer (B, Q, S, A) for the projected queries W_a s_i (B, Q, A) and `keys` (B, S, A)."""
        return torch.tanh(query.unsqueeze(2) + keys.unsqueeze(1))


class BahdanauAttention(Attention):
    """Additive attention: a perceptron with one hidden layer scores each source state (Bahdanau et al. 2015, A.1.2).

        e_ij = v_a^T tanh(W_a s_i + U_a h_j)        alpha_i = softmax(e_i)        c_i = sum_j alpha_ij h_j

    with s_i a decoder state (the query), h_j an encoder state (a value) and U_a h_j its key. All queries of a sentence
    are computed at once: those of its K hypotheses during the search, of its T target positions in training.
    """

    def __init__(self, query_size: int, memory_size: int, attention_size: int) -> None:
        super().__init__(memory_size)
        self.query = nn.Linear(query_size, attention_size)  # W_a
        self.key = nn.Linear(memory_size, attention_size, bias=False)  # U_a
        self.hidden_layer = TanhLayer()
        self.energy = nn.Parameter(torch.empty(attention_size))  # v_a
        nn.init.uniform_(self.energy, -(attention_size**-0.5), attention_size**-0.5)
        self.training_energies: Callable[..., Tensor] | None = None
        """set by nmt/model/training.py; TorchScript drops the branch of a None"""

    def memory(self, states: Tensor, summary: Tensor, mask: Tensor) -> Memory:
        """Keep the states as values and U_a h_j (B, S, A) as keys."""
        return Memory(states, self.hidden_layer.keys(self.key(states)), mask)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Compute contexts (B, Q, D) and weights (B, Q, S), see `Attention`."""
        if self.training_energies is not None and self.training:
            return attend(self.training_energies(self.query(query), memory.keys, self.energy, memory.mask), memory)
        hidden = self.hidden_layer(self.query(query), memory.keys)  # (B, Q, S, A)
        energies = torch.matmul(hidden, self.energy.to(hidden.dtype))  # (B, Q, S)
        return attend(energies, memory)


class MultiHeadAttention(Attention):
    """Several additive attentions in parallel, each on its own projection of the states (Chen et al. 2018, RNMT+).

        e^k_ij = v_k^T tanh(W_k s_i + U_k h_j)        c_i = [sum_j alpha^1_ij V_1 h_j ; sum_j alpha^2_ij V_2 h_j ; ...]

    `attention_size` and `memory_size` are divided evenly among the heads. The returned weights are the mean over heads.
    """

    heads: Final[int]

    def __init__(self, query_size: int, memory_size: int, attention_size: int, heads: int) -> None:
        super().__init__(memory_size)
        self.heads = heads
        self.query = nn.Linear(query_size, attention_size)
        self.key = nn.Linear(memory_size, attention_size, bias=False)
        self.value = nn.Linear(memory_size, memory_size, bias=False)
        self.hidden_layer = TanhLayer()
        self.energy = nn.Parameter(torch.empty(heads, attention_size // heads))
        nn.init.uniform_(self.energy, -((attention_size // heads) ** -0.5), (attention_size // heads) ** -0.5)

    def memory(self, states: Tensor, summary: Tensor, mask: Tensor) -> Memory:
        """Keep V_k h_j (B, S, D) as values and U_k h_j (B, S, A) as keys, concatenated over the heads."""
        return Memory(self.value(states), self.hidden_layer.keys(self.key(states)), mask)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Compute contexts (B, Q, D) and weights (B, Q, S), see `Attention`."""
        hidden = self.hidden_layer(self.query(query), memory.keys)  # (B, Q, S, A)
        # One matrix product for all heads: column k of the matrix has v_k in the rows of head k and zeros elsewhere.
        heads = torch.eye(self.heads, dtype=hidden.dtype, device=hidden.device)
        energy = self.energy.to(hidden.dtype).flatten().unsqueeze(1) * heads.repeat_interleave(self.energy.size(1), 0)
        energies = torch.matmul(hidden, energy)  # (B, Q, S, heads)
        weights = normalise(energies.permute(0, 3, 1, 2), memory.mask.unsqueeze(1))  # (B, heads, Q, S)
        values = memory.values.unflatten(2, [self.heads, -1]).transpose(1, 2)  # (B, heads, S, D / heads)
        contexts = torch.matmul(weights.to(values.dtype), values)
        return contexts.transpose(1, 2).flatten(2), weights.mean(1)


class LuongDotAttention(Attention):
    """Scalar product of decoder and encoder state, of equal width (Luong et al. 2015, eq. 8).

        e_ij = s_i^T h_j / sqrt(D)

    The paper has no divisor, but no layer norm either. The products of normalised states are so large that their
    softmax saturates on one piece from the start and has hardly any gradient (Vaswani et al. 2017, 3.2.1).
    """

    def __init__(self, memory_size: int) -> None:
        super().__init__(memory_size)
        self.scale = memory_size**-0.5

    def memory(self, states: Tensor, summary: Tensor, mask: Tensor) -> Memory:
        """Keep the states as values and as keys."""
        return Memory(states, states, mask)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Compute contexts (B, Q, D) and weights (B, Q, S), see `Attention`."""
        return attend(torch.bmm(query * self.scale, memory.keys.transpose(1, 2)), memory)


class LuongGeneralAttention(Attention):
    """Bilinear form of decoder and encoder state (Luong et al. 2015, eq. 8).

        e_ij = s_i^T W_a h_j / sqrt(H)

    The divisor has the same reason as in `LuongDotAttention`. A smaller initial W_a would give the same energies, but
    updates of the usual size would change it too fast.
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__(memory_size)
        self.scale = query_size**-0.5
        self.key = nn.Linear(memory_size, query_size, bias=False)  # W_a

    def memory(self, states: Tensor, summary: Tensor, mask: Tensor) -> Memory:
        """Keep the states as values and W_a h_j (B, S, H) as keys."""
        return Memory(states, self.key(states), mask)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Compute contexts (B, Q, D) and weights (B, Q, S), see `Attention`."""
        return attend(torch.bmm(query * self.scale, memory.keys.transpose(1, 2)), memory)


def normalise(energies: Tensor, mask: Tensor) -> Tensor:
    """Compute the softmax of `energies` (..., Q, S) over the real source pieces, where `mask` (..., S) is True.

    The softmax is in float32 at least: in half precision the weights of a long sentence do not sum to one.
    """
    if energies.dtype != torch.float64:
        energies = energies.float()
    return torch.softmax(energies.masked_fill(~mask.unsqueeze(-2), float("-inf")), dim=-1)


def attend(energies: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
    """Compute contexts from `energies` (B, Q, S): normalise them, and sum the values with the resulting weights.

    Returns the context (B, Q, D) and the weights (B, Q, S) in float32.
    """
    weights = normalise(energies, memory.mask)
    return torch.bmm(weights.to(memory.values.dtype), memory.values), weights
