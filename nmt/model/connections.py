"""Connections around a layer: how a layer's input and output combine into the next layer's input.

In the way of the data: around each layer of **encoder** and **decoder** but the lowest. A connection takes the layer's
input (N, T, I) and output (N, T, O) and returns the next layer's input (N, T, `size`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Connection(nn.Module):
    """The interface of all connections."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        """width of the combined output"""

    def forward(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Combine the `inputs` (N, T, I) and `outputs` (N, T, O) of a layer: (N, T, size)."""
        raise NotImplementedError


class NoSkip(Connection):
    """Plain stacking: the layer's output alone."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(output_size)

    def forward(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Return y, the layer's output."""
        return outputs


class Residual(Connection):
    """Residual connection: the sum of input and output, of equal width (He et al. 2016; Wu et al. 2016, 3.1)."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(output_size)

    def forward(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Compute x + y."""
        return inputs + outputs


class Highway(Connection):
    """Highway connection: a gate mixes input and output, of equal width (Srivastava et al. 2015, eq. 3).

        t = sigmoid(W x + b)        t * y + (1 - t) * x

    with x the layer's input and y its output. b starts at zero, so the gate starts half open.
    """

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(output_size)
        self.gate = nn.Linear(input_size, output_size)
        nn.init.zeros_(self.gate.bias)

    def forward(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Compute t * y + (1 - t) * x."""
        transform = torch.sigmoid(self.gate(inputs))
        return transform * outputs + (1.0 - transform) * inputs


class Dense(Connection):
    """Dense connection: the next layer reads the outputs of all layers below it (Huang et al. 2017)."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size + output_size)

    def forward(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Concatenate [x ; y]."""
        return torch.cat([inputs, outputs], dim=-1)


CONNECTIONS: dict[str, type[NoSkip | Residual | Highway | Dense]] = {
    "none": NoSkip,
    "residual": Residual,
    "highway": Highway,
    "dense": Dense,
}
