"""The training form of a model: the same outputs and gradients by C++ kernels, in less time on a CPU.

In the way of the data: **train** gives it to the model when it is built. The weights and the plain modules, which are
the reference that the tests compare with, stay as they are. Outputs and gradients differ by rounding only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nmt import kernels
from nmt.model.attention import BahdanauAttention
from nmt.model.recurrent import LSTM


def for_training(model: nn.Module, precision: torch.dtype) -> nn.Module:
    """Give `model` its training form for `precision`, the type of the matrix products, in place; returns it.

    Additive attentions of one head get `additive_energies`, and in bfloat16 LSTM layers that have a fused kernel get
    `lstm` in its place (in float32 that is no faster). All else stays as it is, and without the kernels everything.
    """
    if kernels.load():
        for module in model.modules():
            if isinstance(module, LSTM) and module.fused and precision == torch.bfloat16:
                module.training_kernel = lstm
            if isinstance(module, BahdanauAttention):
                module.training_energies = additive_energies
    return model


def fast(values: Tensor) -> bool:
    """Return whether the kernels are there, and for the type and device of `values`."""
    return kernels.load() and values.dtype in (torch.float32, torch.bfloat16) and values.is_cpu


def lstm(inputs: Tensor, state: list[Tensor], weight: Tensor, bias: Tensor, hidden: Tensor) -> tuple[Tensor, ...]:
    """Compute an LSTM layer with W = `weight` (4H, I), b = `bias` (4H,) and U = `hidden` (4H, H); see `LSTM`.

    `inputs` is (N, T, I) and `state` [h, c], each (N, H). Returns the outputs (N, T, H) and the final h and c.
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else inputs.dtype
    with torch.autocast("cpu", enabled=False):
        return _LSTM.apply(inputs.to(dtype), state[0].to(dtype), state[1].float(), weight, bias, hidden)  # type: ignore[no-any-return]


class _LSTM(torch.autograd.Function):
    """An LSTM layer whose products with W, and the gradients of W, U and b, are one product for all time steps.

    torch's function makes one product a step for the gradients of the weights. Here a step has one product, by U, and
    the cell. Tensors are in order of time: (T, N, ·). The cell c is in float32.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor, hidden: Tensor
    ) -> tuple[Tensor, ...]:
        dtype, length = inputs.dtype, inputs.size(1)
        weight, hidden = weight.to(dtype), hidden.to(dtype)
        inputs = inputs.transpose(0, 1).contiguous()
        gates = linear_map(weight, bias.to(dtype))(inputs)  # W x + b for all t, overwritten by the activations
        states, cells = h.new_empty(length + 1, *h.shape), c.new_empty(length + 1, *c.shape)
        states[0], cells[0] = h, c
        recurrent = linear_map(hidden)
        for t in range(length):
            torch.ops.nmt.lstm_cell(gates[t], recurrent(states[t]), cells[t], cells[t + 1], states[t + 1])
        ctx.save_for_backward(inputs, gates, states, cells, weight, hidden)
        return states[1:].transpose(0, 1), states[length].clone(), cells[length].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        inputs, gates, states, cells, weight, hidden = ctx.saved_tensors
        d_outputs = gradients[0].transpose(0, 1)
        d_h, d_c = gradients[1].contiguous(), gradients[2].clone(memory_format=torch.contiguous_format)
        if d_outputs.stride(2) != 1:
            d_outputs = d_outputs.contiguous()
        d_gates = torch.empty_like(gates)
        recurrent = linear_map(transpose(hidden))
        for t in reversed(range(gates.size(0))):
            torch.ops.nmt.lstm_cell_backward(gates[t], cells[t], cells[t + 1], d_outputs[t], d_h, d_c, d_gates[t])
            d_h = recurrent(d_gates[t])
        flat = d_gates.flatten(0, 1)
        d_inputs = (flat @ weight).view_as(inputs).transpose(0, 1)
        d_weight, d_hidden = weight_gradients(flat, inputs.flatten(0, 1), states[:-1].flatten(0, 1))
        return d_inputs, d_h, d_c, d_weight, flat.sum(0), d_hidden


def additive_energies(query: Tensor, keys: Tensor, energy: Tensor, mask: Tensor) -> Tensor:
    """Compute the energies v^T tanh(q + k) (B, Q, S) of `BahdanauAttention`, zero where `mask` (B, S) is False.

    `query` is (B, Q, A), `keys` (B, S, A) and `energy` v (A,). The hidden layer (B, Q, S, A) is never in memory.
    """
    return _AdditiveEnergies.apply(query.contiguous(), keys.contiguous(), energy, mask)  # type: ignore[no-any-return]


class _AdditiveEnergies(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, keys: Tensor, energy: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(query, keys, energy, mask)
        return torch.ops.nmt.additive_energies(query, keys, energy, mask)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        d_energies = gradients[0].contiguous()
        d_query, d_keys, d_energy = torch.ops.nmt.additive_energies_backward(d_energies, *ctx.saved_tensors)
        return d_query, d_keys, d_energy.sum(0), None


def linear_map(weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """Return the function x W^T + b of `weight` (O, I), for many products.

    In bfloat16 oneDNN lays a weight out anew in each product; here this is done once.
    """
    if weight.dtype == torch.bfloat16 and torch.backends.mkldnn.is_available():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return lambda x: nn.functional.linear(x, weight, bias)


def weight_gradients(d_outputs: Tensor, *inputs: Tensor) -> list[Tensor]:
    """Compute the gradients (O, I) of linear maps from that of their sum `d_outputs` (M, O) and their `inputs` (M, I).

    oneDNN multiplies by a transposed left factor at a third of its speed. So in bfloat16 a copy is transposed first:
    either `d_outputs`, or, if they are smaller, the inputs and the products. The results are then in float32.
    """
    if d_outputs.dtype != torch.bfloat16 or not d_outputs.is_cpu:
        return [d_outputs.t() @ x for x in inputs]
    rows, outputs = d_outputs.shape
    if sum(x.size(1) for x in inputs) * (rows + outputs) < rows * outputs:
        return [transpose(transpose(x) @ d_outputs).float() for x in inputs]
    transposed = transpose(d_outputs)
    return [(transposed @ x).float() for x in inputs]


def transpose(matrix: Tensor) -> Tensor:
    """Return the transpose of `matrix` as a copy."""
    return torch.ops.nmt.transpose(matrix) if fast(matrix) else matrix.t().contiguous()
