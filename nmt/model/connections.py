"""Connections: what the next layer reads of a layer's output and of what that layer itself has read.

In the way of the data: around each layer of **encoder** and **decoder** above the first. Each takes what is `below` the
layer (N, T, I) and the layer's output `above` (N, T, H) and gives (N, T, `size`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Connection(nn.Module):
    """The interface; `size` is the width of what comes out."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, below: Tensor, above: Tensor) -> Tensor:
        """What the next layer reads."""
        raise NotImplementedError


class Straight(Connection):
    """The layer's output alone: plain stacking."""

    def __init__(self, below_size: int, above_size: int) -> None:
        super().__init__(above_size)

    def forward(self, below: Tensor, above: Tensor) -> Tensor:
        """above"""
        return above


class Residual(Connection):
    """The layer adds to what it has read (He et al. 2016; Wu et al. 2016, 3.1). Both are of one size."""

    def __init__(self, below_size: int, above_size: int) -> None:
        super().__init__(above_size)

    def forward(self, below: Tensor, above: Tensor) -> Tensor:
        """below + above"""
        return below + above


class Highway(Connection):
    """A gate chooses between the layer's output and what it has read (Srivastava et al. 2015, eq. 3); of one size.

    t = sigmoid(W x + b) with x what is below; the gate starts half open.
    """

    def __init__(self, below_size: int, above_size: int) -> None:
        super().__init__(above_size)
        self.gate = nn.Linear(below_size, above_size)
        nn.init.zeros_(self.gate.bias)

    def forward(self, below: Tensor, above: Tensor) -> Tensor:
        """t * above + (1 - t) * below"""
        transform = torch.sigmoid(self.gate(below))
        return transform * above + (1.0 - transform) * below


class Dense(Connection):
    """The next layer reads the outputs of all layers before it (Huang et al. 2017)."""

    def __init__(self, below_size: int, above_size: int) -> None:
        super().__init__(below_size + above_size)

    def forward(self, below: Tensor, above: Tensor) -> Tensor:
        """[below ; above]"""
        return torch.cat([below, above], dim=-1)


CONNECTIONS: dict[str, type[Straight | Residual | Highway | Dense]] = {
    "none": Straight,
    "residual": Residual,
    "highway": Highway,
    "dense": Dense,
}
