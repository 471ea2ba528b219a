"""Recurrent layers: tanh RNN, GRU and LSTM.

In the way of the data: the layers of **encoder** and **decoder**. A layer takes a sequence and an initial state and
returns the outputs and the final state; it keeps no state between calls. A single step is a sequence of length one.
"""

# No `from __future__ import annotations`: TorchScript cannot resolve a string `Final[...]`.
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn


class Recurrent(nn.Module):
    """One recurrent layer in one direction; the subclasses define the step.

        a_t = W x_t + b,     u_t = U h_{t-1}
        a_t = LN(W x_t),     u_t = LN(U h_{t-1})        with `norm` (Ba et al. 2016, eq. 20)

    The state is a list of tensors (N, H), the output h first. Sequences are computed by torch's fused kernels. Single
    steps, normalised cells, layers with quantised weights (`fused` is False) and half precision on a CPU (see
    `kernel_is_exact`) are computed by `step`.
    """

    tensors_per_state: Final[int]
    fused: Final[bool]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        gates: int,
        tensors_per_state: int = 1,
        hidden_bias: bool = False,
        norm: bool = False,
        fused: bool = True,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.tensors_per_state = tensors_per_state
        """1, or 2 for the LSTM"""
        self.fused = fused and not norm
        self.input = nn.Linear(input_size, gates * hidden_size, bias=not norm)  # W, b; the gates are concatenated
        self.hidden = nn.Linear(hidden_size, gates * hidden_size, bias=hidden_bias and not norm)  # U
        # With layer norm, its own bias takes the place of b.
        self.input_norm = nn.LayerNorm(gates * hidden_size) if norm else nn.Identity()
        self.hidden_norm = nn.LayerNorm(gates * hidden_size) if norm else nn.Identity()
        nn.init.xavier_uniform_(self.input.weight)
        for gate in self.hidden.weight.data.chunk(gates):
            nn.init.orthogonal_(gate)
        for linear in (self.input, self.hidden):
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def forward(self, inputs: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Process `inputs` (N, T, I) from `state`; returns the outputs (N, T, H) and the final state."""
        if self.fused:  # noqa: SIM102 - a condition of its own is a constant: scripting drops the branch for int8 weights
            if inputs.size(1) > 1 and self.kernel_is_exact(inputs):
                return self.sequence(inputs, state)
        projected = self.input_norm(self.input(inputs))
        outputs: list[Tensor] = []
        for t in range(inputs.size(1)):
            state = self.step(projected[:, t], self.hidden_norm(self.hidden(state[0])), state)
            outputs.append(state[0])
        return torch.stack(outputs, dim=1), state

    def kernel_is_exact(self, inputs: Tensor) -> bool:
        """Return whether the fused kernel's states of a sentence are independent of its batch, up to float32 rounding.

        On a CPU in half precision they are not: oneDNN's LSTM rounds differently with other padding, so a translation
        would depend on its neighbours. There the loop over `step` is used, which is no slower. Training keeps the
        kernel.
        """
        return self.training or inputs.dtype == torch.float32 or inputs.device.type != "cpu"

    def step(self, inputs: Tensor, hidden: Tensor, state: list[Tensor]) -> list[Tensor]:
        """Compute the next state from `inputs` a_t and `hidden` u_t, each (N, gates * H), and the previous state."""
        raise NotImplementedError

    def sequence(self, inputs: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Compute `forward` by torch's fused kernel."""
        raise NotImplementedError

    def zero_state(self, like: Tensor) -> list[Tensor]:
        """Return a state of zeros for the rows of `like` (N, ...), of its type and on its device."""
        zeros = like.new_zeros(like.size(0), self.hidden_size)
        return [zeros] * self.tensors_per_state


class RNN(Recurrent):
    """The simple recurrent layer (Elman 1990): h_t = tanh(a_t + u_t)."""

    def __init__(self, input_size: int, hidden_size: int, *, norm: bool = False, fused: bool = True) -> None:
        super().__init__(input_size, hidden_size, gates=1, norm=norm, fused=fused)

    def step(self, inputs: Tensor, hidden: Tensor, state: list[Tensor]) -> list[Tensor]:
        """Compute h_t."""
        return [torch.tanh(inputs + hidden)]

    def sequence(self, inputs: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Compute `forward` by `torch.rnn_tanh`."""
        bias = self.input.bias
        weights = [self.input.weight, self.hidden.weight, bias, torch.zeros_like(bias)]  # the kernel takes two biases
        initial = state[0].unsqueeze(0).contiguous()
        outputs, hidden = torch.rnn_tanh(inputs, initial, weights, True, 1, 0.0, self.training, False, True)
        return outputs, [hidden.squeeze(0)]


class GRU(Recurrent):
    """A GRU layer (Cho et al. 2014), with the reset gate applied after the matrix product, as in torch and cuDNN.

    r, z = sigmoid(a^r + u^r), sigmoid(a^z + u^z)        n = tanh(a^n + r * u^n)
    h_t = (1 - z) * n + z * h_{t-1}
    """

    def __init__(self, input_size: int, hidden_size: int, *, norm: bool = False, fused: bool = True) -> None:
        super().__init__(input_size, hidden_size, gates=3, hidden_bias=True, norm=norm, fused=fused)

    def step(self, inputs: Tensor, hidden: Tensor, state: list[Tensor]) -> list[Tensor]:
        """Compute h_t."""
        reset_in, update_in, new_in = inputs.chunk(3, dim=-1)
        reset, update, new = hidden.chunk(3, dim=-1)
        candidate = torch.tanh(new_in + torch.sigmoid(reset_in + reset) * new)
        return [torch.lerp(candidate, state[0].to(candidate.dtype), torch.sigmoid(update_in + update))]

    def sequence(self, inputs: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Compute `forward` by `torch.gru`."""
        weights = [self.input.weight, self.hidden.weight, self.input.bias, self.hidden.bias]
        initial = state[0].unsqueeze(0).contiguous()
        outputs, hidden = torch.gru(inputs, initial, weights, True, 1, 0.0, self.training, False, True)
        return outputs, [hidden.squeeze(0)]


class LSTM(Recurrent):
    """An LSTM layer (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000). The state is [h, c].

    i, f, g, o = a_t + u_t
    c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)        h_t = sigmoid(o) * tanh(c_t); with `norm`, of LN(c_t)
    """

    def __init__(self, input_size: int, hidden_size: int, *, norm: bool = False, fused: bool = True) -> None:
        super().__init__(input_size, hidden_size, gates=4, tensors_per_state=2, norm=norm, fused=fused)
        self.cell_norm = nn.LayerNorm(hidden_size) if norm else nn.Identity()
        self.training_kernel: Callable[..., tuple[Tensor, ...]] | None = None
        """set by nmt/model/training.py; TorchScript drops the branch of a None"""
        # A forget gate that starts open lets gradients flow over many time steps (Jozefowicz et al. 2015).
        bias: Tensor = (self.input_norm if norm else self.input).bias  # type: ignore[assignment]
        nn.init.ones_(bias.data[hidden_size : 2 * hidden_size])

    def step(self, inputs: Tensor, hidden: Tensor, state: list[Tensor]) -> list[Tensor]:
        """Compute [h_t, c_t]."""
        i, f, g, o = (inputs + hidden).chunk(4, dim=-1)
        cell = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return [torch.sigmoid(o) * torch.tanh(self.cell_norm(cell)), cell]

    def sequence(self, inputs: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Compute `forward` by `torch.lstm`, or in training by the kernel that is set."""
        bias = self.input.bias
        if self.training_kernel is not None and self.training:
            outputs, hidden, cell = self.training_kernel(inputs, state, self.input.weight, bias, self.hidden.weight)
            return outputs, [hidden, cell]
        weights = [self.input.weight, self.hidden.weight, bias, torch.zeros_like(bias)]  # the kernel takes two biases
        initial = [s.unsqueeze(0).contiguous() for s in state]
        outputs, hidden, cell = torch.lstm(inputs, initial, weights, True, 1, 0.0, self.training, False, True)
        return outputs, [hidden.squeeze(0), cell.squeeze(0)]
