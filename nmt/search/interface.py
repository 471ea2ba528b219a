"""What the search needs of a model: how to read a source, and how to take one decoding step."""

from typing import NamedTuple, Protocol

from torch import Tensor


class Memory(NamedTuple):
    """What the decoder may look at: the encoded source sentences."""

    values: Tensor
    """(B, S, D) encoder states"""
    keys: Tensor
    """(B, S, A) the values, projected once for the energies"""
    mask: Tensor
    """(B, S) bool, True on real pieces, False on padding"""


class StepModel(Protocol):
    """What the search needs of a model; `Seq2Seq` has it, and so has any other decoder with a state of fixed size."""

    def encode(self, src: Tensor, lengths: Tensor) -> tuple[Memory, list[Tensor]]:
        """Read `src` (B, S) of `lengths` (B,): the memory and the decoder's first state, each (B, ·)."""

    def step(self, tokens: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        """Read one piece `tokens` (N,): logits (N, V), next state, attention (N, S); K rows share one memory."""
