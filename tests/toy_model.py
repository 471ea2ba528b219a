"""A tiny random model that implements `StepModel`, and slow reference searches to compare the search with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nmt.search.interface import Memory
from nmt.text.special_ids import BOS, EOS, PAD


class ToyModel(nn.Module):
    """GRU encoder and GRU decoder with dot attention; its large weights give distributions for which beams differ.

    `eos_bias` is added to the logit of EOS: negative for long hypotheses, positive for short ones.
    """

    def __init__(self, vocabulary: int = 7, hidden: int = 8, seed: int = 0, eos_bias: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embedding = nn.Embedding(max(vocabulary, 12), hidden)  # sources may use more pieces than targets
        self.encoder = nn.GRUCell(hidden, hidden)
        self.decoder = nn.GRUCell(2 * hidden, hidden)
        self.output = nn.Linear(2 * hidden, vocabulary)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.output.bias.data[EOS] += eos_bias

    def encode(self, src: Tensor, lengths: Tensor) -> tuple[Memory, list[Tensor]]:
        state = torch.zeros_like(self.embedding(src[:, 0]))
        states: list[Tensor] = []
        mask = torch.arange(src.size(1), device=src.device).unsqueeze(0) < lengths.unsqueeze(1)
        for t in range(src.size(1)):
            state = torch.where(mask[:, t : t + 1], self.encoder(self.embedding(src[:, t]), state), state)
            states.append(state)
        values = torch.stack(states, dim=1)
        return Memory(values, values, mask), [torch.tanh(state), torch.zeros_like(state)]

    def step(self, tokens: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        hidden = self.decoder(torch.cat([self.embedding(tokens), state[1]], dim=1), state[0])
        query = hidden.view(memory.mask.size(0), -1, hidden.size(1))
        energies = torch.bmm(query, memory.keys.transpose(1, 2)).float()
        weights = energies.masked_fill(~memory.mask.unsqueeze(1), float("-inf")).softmax(2)
        context = torch.bmm(weights.to(hidden.dtype), memory.values).view_as(hidden)
        return self.output(torch.cat([hidden, context], dim=1)), [hidden, context], weights.flatten(0, 1)


class NextPiece:
    """The model's distribution of the next piece for one source, computed without the search."""

    def __init__(self, model: ToyModel, src: tuple[int, ...]) -> None:
        self.model = model
        self.memory, self.initial = model.encode(torch.tensor([src]), torch.tensor([len(src)]))

    def log_probs(self, state: list[Tensor], piece: int) -> tuple[list[float], list[Tensor]]:
        """Return the log-probabilities (V) of the next piece after `piece`, and the next state."""
        logits, state, _ = self.model.step(torch.tensor([piece]), state, self.memory)
        row: list[float] = logits.double().log_softmax(1)[0].tolist()
        return row, state


def greedy(model: ToyModel, src: tuple[int, ...], max_length: int) -> list[int]:
    """Return the pieces of greedy decoding, with EOS unless `max_length` comes first."""
    next_piece = NextPiece(model, src)
    ids, state = [BOS], next_piece.initial
    while len(ids) <= max_length and ids[-1] != EOS:
        row, state = next_piece.log_probs(state, ids[-1])
        ids.append(max((v for v in range(len(row)) if v not in (PAD, BOS)), key=row.__getitem__))
    return ids[1:]


def all_complete(
    model: ToyModel, src: tuple[int, ...], max_length: int, pieces: tuple[int, ...], alpha: float = 1.0
) -> list[tuple[float, list[int]]]:
    """Return all hypotheses over `pieces` of at most `max_length`, EOS included: (normalised score, ids), sorted."""
    next_piece = NextPiece(model, src)
    found: list[tuple[float, list[int]]] = []

    def extend(ids: list[int], log_prob: float, state: list[Tensor]) -> None:
        row, state = next_piece.log_probs(state, ids[-1] if ids else BOS)
        length = len(ids) + 1
        found.append(((log_prob + row[EOS]) / ((5 + length) / 6) ** alpha, ids))
        if length < max_length:
            for piece in pieces:
                extend([*ids, piece], log_prob + row[piece], state)

    extend([], 0.0, next_piece.initial)
    return sorted(found, key=lambda pair: -pair[0])
