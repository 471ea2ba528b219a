"""The work of the model's equations in floating-point operations; a multiplication and an addition are two.

Only matrix products and the attention's sums over source pieces are counted, without padding and in the plain form of
the equations, so that the count does not depend on how they are computed. An implementation that needs fewer products
(a table of products, a shortlist) shows a larger share of the peak.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from nmt.config import ModelConfig
from nmt.model.seq2seq import Seq2Seq


@dataclass(frozen=True)
class Work:
    """The operations of the forward pass of a model."""

    source: int
    """for each source piece: encoder and attention keys"""
    target: int
    """for each target piece of a hypothesis: decoder, readout, output layer"""
    attended: int
    """for each target piece and source piece: energies and context"""

    @classmethod
    def of(cls, config: ModelConfig, vocabulary: int) -> Work:
        """Count the products of a model of any member of the family."""
        with torch.device("meta"):
            model = Seq2Seq(config, vocabulary)
        source, target = 0, model.output.weight.numel()
        for name, parameter in model.named_parameters():
            if parameter.dim() != 2 or "embedding" in name or "bridge" in name or name == "output.weight":
                continue
            if name.startswith("encoder") or ".attention.key" in name:
                source += parameter.numel()
            else:
                target += parameter.numel()
        memory = config.encoder.memory_size
        keys = config.decoder.attention_size if config.decoder.attention == "bahdanau" else memory
        attended = 0 if config.decoder.attention == "none" else keys + memory
        return cls(2 * source, 2 * target, 2 * attended)

    def forward(self, source: int, target: int) -> int:
        """Operations of one pair with `source` and `target` pieces, EOS included."""
        return source * self.source + target * (self.target + source * self.attended)

    def decoding(self, sizes: Iterable[tuple[int, int]], beam: int) -> int:
        """Operations of decoding sentences with these (source, target) pieces: `beam` rows for each target piece."""
        return sum(
            source * self.source + beam * target * (self.target + source * self.attended) for source, target in sizes
        )

    def training(self, sizes: Iterable[tuple[int, int]]) -> int:
        """Operations of training on pairs of these sizes; the backward pass has twice those of the forward pass."""
        return 3 * sum(self.forward(source, target) for source, target in sizes)
