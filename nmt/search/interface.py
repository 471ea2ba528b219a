"""What the search needs of a model: encode a source sentence, then compute one decoding step.

In the way of the data: pieces -> **model** -> search. Any decoder whose state has a fixed size can implement it:
`nmt.model.seq2seq.Seq2Seq` for every member of the family (and its int8 copy), `tests.toy_model.ToyModel` for tests.
Dimensions as in `nmt/model/seq2seq.py`.
"""

from typing import NamedTuple, Protocol

from torch import Tensor


class Memory(NamedTuple):
    """The encoded source sentences, from which the decoder computes its context. Constant during decoding."""

    values: Tensor
    """(B, S, D) encoder states, of which the context is a weighted sum; (B, 1, ·) without attention"""
    keys: Tensor
    """(B, S, A) projection of the states that the energies are computed from, done once for all steps"""
    mask: Tensor
    """(B, S) bool, True on source pieces, False on padding"""


class StepModel(Protocol):
    """A model that `BeamSearch` can decode with: an `nn.Module` in evaluation mode, scriptable if it is to be exported.

    It keeps nothing between calls: all that changes from step to step is in `state`, a list of tensors whose number,
    shapes and types stay the same throughout. Each row must be computed independently of the other rows and of the
    padding, so that a translation does not depend on the batch it is in.
    """

    def encode(self, src: Tensor, lengths: Tensor) -> tuple[Memory, list[Tensor]]:
        """Encode B source sentences.

        `src` (B, S) int64 is padded with PAD after the first `lengths` (B,) int64 pieces of each row. Returns the
        memory and the decoder's initial state, each tensor (B, ·).
        """

    def step(self, tokens: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        """Compute one time step for N = B * K hypotheses; row b * K + k is hypothesis k of sentence b.

        `tokens` (N,) int64 are the previous pieces (BOS at first), and `state` has tensors (N, ·). The K hypotheses of
        a sentence share its row of `memory`, which may have more padding than when `encode` returned it. The arguments
        are not modified. Returns the logits (N, V) in any floating type, the next state, and the attention weights
        (N, S) in float32, zero where the model has no attention.
        """
