"""Dropout that knows about sequences.

In the way of the data: between the layers of **encoder** and **decoder**, while training only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class VariationalDropout(nn.Module):
    """Drops the same features at every position of a sequence (Gal & Ghahramani 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, inputs: Tensor) -> Tensor:
        """Scale or drop the features of `inputs` (N, T, F); the mask is (N, 1, F)."""
        if not self.training or self.probability == 0.0:
            return inputs
        mask = torch.empty_like(inputs[:, :1]).bernoulli_(1.0 - self.probability)
        return inputs * (mask / (1.0 - self.probability))


class WordDropout(nn.Module):
    """Drops whole words: all features of a position become zero (Sennrich et al. 2016, WMT systems)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, inputs: Tensor) -> Tensor:
        """Drop positions of `inputs` (N, T, F); the mask is (N, T, 1)."""
        if not self.training or self.probability == 0.0:
            return inputs
        mask = torch.empty_like(inputs[:, :, :1]).bernoulli_(1.0 - self.probability)
        return inputs * (mask / (1.0 - self.probability))
