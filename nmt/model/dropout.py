"""Dropout for sequences: masks that are shared between time steps, or between the features of a word.

In the way of the data: between the layers of **encoder** and **decoder**, during training only.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a string `Final[...]`, nor a NamedTuple's string
# annotations (pytorch#95858).
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn


class SharedDropout(nn.Module):
    """Dropout of a sequence (N, T, ·) with a mask that is the same along the dimension `shared_dim`."""

    shared_dim: Final[int]

    def __init__(self, probability: float, shared_dim: int) -> None:
        super().__init__()
        self.probability = probability
        self.shared_dim = shared_dim

    def forward(self, inputs: Tensor) -> Tensor:
        """Zero some features of `inputs` (N, T, ·) and scale up the others; the identity in evaluation mode."""
        if not self.training or self.probability == 0.0:
            return inputs
        mask = torch.empty_like(inputs.narrow(self.shared_dim, 0, 1)).bernoulli_(1.0 - self.probability)
        return inputs * (mask / (1.0 - self.probability))


class VariationalDropout(SharedDropout):
    """Drops the same features at every position of a sequence: the mask is (N, 1, ·) (Gal & Ghahramani 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__(probability, shared_dim=1)


class WordDropout(SharedDropout):
    """Drops whole words, that is, all features of a position: the mask is (N, T, 1) (Sennrich et al. 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__(probability, shared_dim=2)


class DropoutMasks(NamedTuple):
    """The decoder's dropout masks, each (N, 1, ·); None where nothing is dropped."""

    context: Tensor | None
    """for the context vector"""
    layers: list[Tensor | None]
    """for the output of each recurrent layer, the lowest first"""
    readout: Tensor | None
    """for the readout"""


class MaskSampler(nn.Module):
    """Draws the masks of the decoder once per sequence, for use at each of its time steps.

    This is variational dropout for a loop over time steps, which `VariationalDropout` cannot give.
    """

    def __init__(self, probability: float, context_size: int, layer_sizes: list[int], readout_size: int) -> None:
        super().__init__()
        self.probability = probability
        self.context_size = context_size
        self.layer_sizes = layer_sizes
        self.readout_size = readout_size

    def forward(self, like: Tensor) -> DropoutMasks:
        """Draw masks for the rows of `like` (N, T, ·), of its type and device; all None in evaluation mode."""
        context = self.draw(like, self.context_size)
        layers: list[Tensor | None] = []  # no comprehension: TorchScript warns of its optional elements
        for size in self.layer_sizes:
            layers.append(self.draw(like, size))
        return DropoutMasks(context, layers, self.draw(like, self.readout_size))

    def draw(self, like: Tensor, size: int) -> Tensor | None:
        """Draw one mask (N, 1, size)."""
        if not self.training or self.probability == 0.0:
            return None
        mask = like.new_empty([like.size(0), 1, size]).bernoulli_(1.0 - self.probability)
        return mask / (1.0 - self.probability)


def drop(inputs: Tensor, mask: Tensor | None) -> Tensor:
    """Apply a mask of `MaskSampler` to `inputs` (N, T, ·)."""
    return inputs if mask is None else inputs * mask.to(inputs.dtype)
