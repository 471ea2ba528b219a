"""A stand-in for a trained model that says its source again, piece by piece: its translations are known beforehand.

It has the interface that the search needs, one tied embedding, and is built at once. With `never_ends` it goes on for
ever, saying the end of the source again and again.
"""

# No `from __future__ import annotations`: TorchScript reads the annotations.
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from nmt.export import build
from nmt.search.interface import Memory
from nmt.text.special_ids import EOS
from nmt.text.tokenizer import Tokenizer

TEXT = """the quick brown fox jumps over the lazy dog
Where is the station, please?
It is raining; we stay at home today.
Guten Morgen! Wie geht es dir?
0123456789 . , ; : ! ? ( ) - " '
ABCDEFGHIJKLMNOPQRSTUVWXYZ
abcdefghijklmnopqrstuvwxyz äöüß"""


class CopyModel(nn.Module):
    """p(y_t | y_<t, x) has its mass on x_t; the attention looks there."""

    def __init__(self, vocabulary: int, sharpness: float = 12.0, never_ends: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, vocabulary)
        self.output = nn.Linear(vocabulary, vocabulary)
        self.embedding.weight.data = torch.eye(vocabulary)
        self.output.weight = self.embedding.weight
        self.output.bias.data.zero_()
        # Ending early is less likely than any wrong piece, ending at the end more than any: no beam is full of stumps.
        self.embedding.weight.data[EOS, EOS] = 2.0
        self.output.bias.data[EOS] = -1e4 if never_ends else -sharpness / 3
        self.sharpness = sharpness

    def encode(self, src: Tensor, lengths: Tensor) -> tuple[Memory, list[Tensor]]:
        values = self.embedding(src) * self.sharpness
        mask = torch.arange(src.size(1), device=src.device).unsqueeze(0) < lengths.unsqueeze(1)
        return Memory(values, values, mask), [torch.zeros_like(values[:, 0, :1])]

    def step(self, tokens: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        beam = tokens.size(0) // memory.mask.size(0)
        last = memory.mask.long().sum(1).repeat_interleave(beam) - 1
        position = torch.minimum(state[0].squeeze(1).long(), last)  # (N,)
        places = torch.arange(memory.mask.size(1), device=tokens.device)
        attention = (places.unsqueeze(0) == position.unsqueeze(1)).float()  # (N, S)
        looked = attention.view(memory.mask.size(0), beam, -1).to(memory.values.dtype)
        read = torch.bmm(looked, memory.values).flatten(0, 1)
        return self.output(read), [state[0] + 1], attention


@cache
def tokenizer() -> Tokenizer:
    """Characters and a few pieces; everything outside Latin letters is unknown to it."""
    return Tokenizer.train(TEXT.split("\n") * 3, vocabulary=120)


@dataclass(frozen=True)
class CopyRun:
    """What export needs of a training run."""

    model: Any = field(default_factory=lambda: CopyModel(tokenizer().vocabulary).eval())
    tokenizer: Tokenizer = field(default_factory=tokenizer)
    info: dict[str, Any] = field(
        default_factory=lambda: {
            "source_language": "en",
            "target_language": "de",
            "max_source_pieces": 40,
            "beam": 3,
            "length_penalty": 0.8,
            "seed": 7,
            "steps": 1000,
            "valid_bleu": 12.5,
            "config_digest": "0123456789ab",
        }
    )
    samples: list[tuple[str, str]] = field(default_factory=lambda: [(line, line) for line in TEXT.split("\n")])


@cache
def exported(dtype: str = "float32") -> bytes:
    """The bytes of its artifact."""
    return build(CopyRun(), dtype)[0]
