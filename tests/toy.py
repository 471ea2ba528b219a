"""A tiny random model with the interface that the search needs, and slow, plain searches to hold it against."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmt.attention import Memory


class ToyModel(nn.Module):
    """GRU over the source, GRU cell with dot attention over the target; peaked enough that beams differ."""

    def __init__(self, vocabulary: int = 7, hidden: int = 8, seed: int = 0, eos_bias: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.read = nn.GRUCell(hidden, hidden)
        self.cell = nn.GRUCell(2 * hidden, hidden)
        self.output = nn.Linear(2 * hidden, vocabulary)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.output.bias.data[3] += eos_bias

    def encode(self, src: Tensor, lengths: Tensor) -> tuple[Memory, list[Tensor]]:
        state = torch.zeros_like(self.embedding(src[:, 0]))
        states: list[Tensor] = []
        mask = torch.arange(src.size(1), device=src.device).unsqueeze(0) < lengths.unsqueeze(1)
        for t in range(src.size(1)):
            state = torch.where(mask[:, t : t + 1], self.read(self.embedding(src[:, t]), state), state)
            states.append(state)
        values = torch.stack(states, dim=1)
        return Memory(values, values, mask), [torch.tanh(state), torch.zeros_like(state)]

    def step(self, tokens: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        hidden = self.cell(torch.cat([self.embedding(tokens), state[1]], dim=1), state[0])
        query = hidden.view(memory.mask.size(0), -1, hidden.size(1))
        energies = torch.bmm(query, memory.keys.transpose(1, 2)).float()
        weights = energies.masked_fill(~memory.mask.unsqueeze(1), float("-inf")).softmax(2)
        context = torch.bmm(weights.to(hidden.dtype), memory.values).view_as(hidden)
        return self.output(torch.cat([hidden, context], dim=1)), [hidden, context], weights.flatten(0, 1)
