"""The decoder: computes a readout and the attention weights for each target position, given the pieces before it.

In the way of the data: attention -> **decoder** -> readout -> output layer. A `Decoder` runs a *wiring* along the
target; the wirings in `nmt/model/wiring.py` differ in which state is the attention's query and which layers read the
context.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a string `Final[...]`.
from typing import Final

import torch
from torch import Tensor, nn

from nmt.model.dropout import DropoutMasks, MaskSampler, drop
from nmt.model.wiring import Wiring
from nmt.search.interface import Memory


class Decoder(nn.Module):
    """A wiring along the target positions, with a bridge for the initial state and a readout for the output.

        s_t, c_t = wiring(y_{t-1}, s_{t-1}, source)        r_t = readout(s_t, c_t, y_{t-1})

    With `input_feeding`, y_{t-1} is concatenated with the previous readout r_{t-1} (Luong et al. 2015, 3.3). All target
    positions are computed at once if no step needs the result of the previous one (`wiring.parallel` and no input
    feeding), else one after another. A step of the search is the same code on a target of length one.
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
        """E, the width of the readout"""
        self.input_feeding = input_feeding
        self.parallel = wiring.parallel and not input_feeding
        self.sample_masks = MaskSampler(dropout, wiring.attention.context_size, wiring.layer_sizes, output_size)

    def start(self, states: Tensor, summary: Tensor, mask: Tensor) -> tuple[Memory, list[Tensor]]:
        """Compute the memory and the initial state from the encoder's `states` (B, S, D) and `summary` (B, D).

        `mask` (B, S) is True on real pieces. The state lists the tensors (B, H) of each layer from the lowest up, the
        hidden state h before the LSTM's c. With input feeding the previous readout (B, E) is the last tensor.
        """
        state: list[Tensor] = []
        for hidden in self.bridge(states, summary, mask):
            state += [hidden] + [torch.zeros_like(hidden)] * (self.wiring.tensors_per_state - 1)
        if self.input_feeding:
            state += [summary.new_zeros(summary.size(0), self.output_size)]
        return self.wiring.attention.memory(states, summary, mask), state

    def forward(self, embedded: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        """Process the previous pieces `embedded` (N, T, E) from `state`, with the memory of B sentences, N = B * K.

        Returns the readouts (N, T, E), the state after the last piece and the attention weights (N, T, S).
        """
        masks = self.sample_masks(embedded)
        if self.parallel:
            return self.step(embedded, state, memory, masks)
        readouts: list[Tensor] = []
        weights: list[Tensor] = []
        for t in range(embedded.size(1)):
            readout, state, step_weights = self.step(embedded[:, t : t + 1], state, memory, masks)
            readouts.append(readout)
            weights.append(step_weights)
        return torch.cat(readouts, dim=1), state, torch.cat(weights, dim=1)

    def step(
        self, inputs: Tensor, state: list[Tensor], memory: Memory, masks: DropoutMasks
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Compute `forward` for positions whose readouts do not depend on each other: all if `parallel`, else one."""
        if self.input_feeding:
            inputs = torch.cat([inputs, state[-1].unsqueeze(1).to(inputs.dtype)], dim=-1)
            outputs, context, next_state, weights = self.wiring(inputs, state[:-1], memory, masks)
        else:
            outputs, context, next_state, weights = self.wiring(inputs, state, memory, masks)
        readout = drop(self.readout(outputs, context, inputs), masks.readout)
        if self.input_feeding:
            next_state.append(readout[:, -1])
        return readout, next_state, weights
