"""Recurrent layers: the cell that carries a state along a sequence.

In the way of the data: used by **encoder** and **decoder**. A layer takes a sequence and a state and gives a sequence
and the state behind it; it keeps nothing between calls. One step is a sequence of length one.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a string `Final[...]`.
from typing import Final

import torch
from torch import Tensor, nn


class LSTM(nn.Module):
    """One LSTM layer in one direction (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

        i, f, g, o = W x_t + b + U h_{t-1}
        c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)        h_t = sigmoid(o) * tanh(c_t)

    The state is the list [h, c], each (N, H). Sequences run through torch's fused kernel; a single step, and layers
    whose weights were quantised (`fused` False), through the two lines above.
    """

    fused: Final[bool]

    def __init__(self, input_size: int, hidden_size: int, *, fused: bool = True) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.fused = fused
        self.input = nn.Linear(input_size, 4 * hidden_size)  # W, b; the gates in the order i, f, g, o
        self.hidden = nn.Linear(hidden_size, 4 * hidden_size, bias=False)  # U
        nn.init.xavier_uniform_(self.input.weight)
        for gate in self.hidden.weight.data.chunk(4):
            nn.init.orthogonal_(gate)
        nn.init.zeros_(self.input.bias)
        # A forget gate that starts open lets gradients reach far back (Jozefowicz et al. 2015).
        nn.init.ones_(self.input.bias.data[hidden_size : 2 * hidden_size])

    def forward(self, inputs: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Run along `inputs` (N, T, I) from `state`: the outputs (N, T, H) and the state behind the last one."""
        if self.fused:  # noqa: SIM102 - alone it is a constant, so that scripting drops the branch for int8 weights
            if inputs.size(1) > 1:
                return self._sequence(inputs, state)
        gates = self.input(inputs)
        hidden, cell = state[0], state[1]
        outputs: list[Tensor] = []
        for t in range(inputs.size(1)):
            i, f, g, o = (gates[:, t] + self.hidden(hidden)).chunk(4, dim=-1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), [hidden, cell]

    def _sequence(self, inputs: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        bias = self.input.bias
        weights = [self.input.weight, self.hidden.weight, bias, torch.zeros_like(bias)]
        initial = [s.unsqueeze(0).contiguous() for s in state]
        outputs, hidden, cell = torch.lstm(inputs, initial, weights, True, 1, 0.0, self.training, False, True)
        return outputs, [hidden.squeeze(0), cell.squeeze(0)]

    def zero_state(self, like: Tensor) -> list[Tensor]:
        """The state [h, c] of zeros for the rows of `like` (N, ...), of its type and device."""
        zeros = like.new_zeros(like.size(0), self.hidden_size)
        return [zeros, zeros]
