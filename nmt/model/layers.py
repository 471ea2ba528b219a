"""What the layers of a stack have in common, in the encoder and in the decoder.

In the way of the data: read when **encoder** and **decoder** are built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from nmt.model.connections import Connection
from nmt.model.recurrent import Recurrent


@dataclass(frozen=True)
class LayerOptions:
    """The options of a stack of recurrent layers."""

    cell: Callable[[int, int], Recurrent]
    """builds a recurrent layer from its input size and its hidden size"""
    connection: Callable[[int, int], Connection]
    """builds the connection around each layer but the lowest, from the layer's input size and output size"""
    hidden_size: int
    """H; in the encoder, per direction"""
    count: int
    """layers in the stack"""
    layer_norm: bool
    """whether the output of each layer is normalised (Ba et al. 2016)"""

    def norm(self, size: int) -> nn.Module:
        """Build the normalisation of a layer's output of width `size`; the identity without `layer_norm`."""
        return nn.LayerNorm(size) if self.layer_norm else nn.Identity()
