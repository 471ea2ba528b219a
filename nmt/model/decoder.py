"""Decoder: the target sentence, one piece after another, with a look at the source before each.

In the way of the data: attention -> **decoder** -> readout -> vocabulary scores. A `Decoder` runs a *wiring* along the
target; the wirings in `nmt/wiring.py` differ in which state asks the attention and which layers read the answer.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a string `Final[...]`.
from typing import Final

import torch
from torch import Tensor, nn

from nmt.model.dropout import DropoutMasks, drop
from nmt.model.wiring import Wiring
from nmt.search.interface import Memory


class Decoder(nn.Module):
    """A wiring with a bridge below it and a readout above it, along the target positions.

        s_t, c_t = wiring(y_{t-1}, s_{t-1}, source)        r_t = readout(s_t, c_t, y_{t-1})

    With `input_feeding` y_{t-1} is joined by the readout of the step before (Luong et al. 2015, 3.3). Where no step
    waits for the outcome of the one before (`wiring.parallel` and no input feeding), all target positions are computed
    at once, else one after another. A decoding step is the same code on a target of length one.
    """

    parallel: Final[bool]
    input_feeding: Final[bool]

    def __init__(
        self,
        wiring: Wiring,
        bridge: nn.Module,
        readout: nn.Module,
        output_size: int,
        dropout: float,
        input_feeding: bool,
    ) -> None:
        super().__init__()
        self.wiring = wiring
        self.bridge = bridge
        self.readout = readout
        self.output_size = output_size
        self.input_feeding = input_feeding
        self.parallel = wiring.parallel and not input_feeding
        self.masks = DropoutMasks(dropout, [*wiring.mask_sizes, output_size])

    def open(self, states: Tensor, summary: Tensor, mask: Tensor) -> tuple[Memory, list[Tensor]]:
        """The memory and the state before the first piece, each (B, ·), from what the encoder gives.

        `states` (B, S, D), `summary` (B, D), `mask` (B, S). The state has the tensors of each layer in turn, h first,
        each (B, H), and with input feeding the last readout (B, O) behind them.
        """
        state: list[Tensor] = []
        for hidden in self.bridge(states, summary, mask):
            state += [hidden] + [torch.zeros_like(hidden)] * (self.wiring.states - 1)
        if self.input_feeding:
            state += [summary.new_zeros(summary.size(0), self.output_size)]
        return self.wiring.attention.memory(states, summary, mask), state

    def forward(self, embedded: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        """Read the previous pieces `embedded` (N, T, E) from `state`, looking at `memory` of B sentences, N = B * K.

        Returns the readout (N, T, output_size), the state behind the last piece and the attention weights (N, T, S).
        """
        masks = self.masks(embedded)
        if self.parallel:
            return self.step(embedded, state, memory, masks)
        readouts: list[Tensor] = []
        weights: list[Tensor] = []
        for t in range(embedded.size(1)):
            readout, state, looked = self.step(embedded[:, t : t + 1], state, memory, masks)
            readouts.append(readout)
            weights.append(looked)
        return torch.cat(readouts, dim=1), state, torch.cat(weights, dim=1)

    def step(
        self, inputs: Tensor, state: list[Tensor], memory: Memory, masks: list[Tensor]
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """As `forward`, over positions that do not depend on each other's readout."""
        if self.input_feeding:
            inputs = torch.cat([inputs, state[-1].unsqueeze(1).to(inputs.dtype)], dim=-1)
            outputs, context, next_state, weights = self.wiring(inputs, state[:-1], memory, masks)
        else:
            outputs, context, next_state, weights = self.wiring(inputs, state, memory, masks)
        readout = drop(self.readout(outputs, context, inputs), masks, -1)
        if self.input_feeding:
            next_state.append(readout[:, -1])
        return readout, next_state, weights
