"""Dropout that knows about sequences.

In the way of the data: between the layers of **encoder** and **decoder**, while training only.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a string `Final[...]`.
from typing import Final

import torch
from torch import Tensor, nn


class SharedDropout(nn.Module):
    """Drops numbers of a sequence (N, T, F) by a mask that is the same along the dimension `shared`."""

    shared: Final[int]

    def __init__(self, probability: float, shared: int) -> None:
        super().__init__()
        self.probability = probability
        self.shared = shared

    def forward(self, inputs: Tensor) -> Tensor:
        """`inputs` (N, T, F) with some numbers zero and the others scaled up; unchanged in evaluation mode."""
        if not self.training or self.probability == 0.0:
            return inputs
        mask = torch.empty_like(inputs.narrow(self.shared, 0, 1)).bernoulli_(1.0 - self.probability)
        return inputs * (mask / (1.0 - self.probability))


class VariationalDropout(SharedDropout):
    """Drops the same features at every position of a sequence: the mask is (N, 1, F) (Gal & Ghahramani 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__(probability, shared=1)


class WordDropout(SharedDropout):
    """Drops whole words, all features of a position: the mask is (N, T, 1) (Sennrich et al. 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__(probability, shared=2)


class DropoutMasks(nn.Module):
    """Masks that are drawn once a sequence and applied at each of its steps: variational dropout for a loop."""

    def __init__(self, probability: float, sizes: list[int]) -> None:
        super().__init__()
        self.probability = probability
        self.sizes = sizes

    def forward(self, like: Tensor) -> list[Tensor]:
        """A mask (N, 1, size) for each of the sizes, for the rows of `like` (N, T, ·); none in evaluation mode."""
        masks: list[Tensor] = []
        if self.training and self.probability > 0.0:
            for size in self.sizes:
                mask = like.new_empty([like.size(0), 1, size]).bernoulli_(1.0 - self.probability)
                masks.append(mask / (1.0 - self.probability))
        return masks


def drop(inputs: Tensor, masks: list[Tensor], index: int) -> Tensor:
    """Apply mask number `index` of `DropoutMasks` to `inputs` (N, T, size)."""
    return inputs if len(masks) == 0 else inputs * masks[index].to(inputs.dtype)
