"""Recurrent layers against torch's cells and the equations; the fused kernels against the loop over steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nmt.model.recurrent import GRU, LSTM, RNN, Recurrent

Cell = type[RNN] | type[GRU] | type[LSTM]

CELLS: dict[Cell, Any] = {RNN: nn.RNNCell, GRU: nn.GRUCell, LSTM: nn.LSTMCell}
cells = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.__name__)
norms = pytest.mark.parametrize("norm", [False, True], ids=["plain", "norm"])


def make(cell: Cell, norm: bool = False, fused: bool = True) -> Recurrent:
    """Build a layer of input size 3 and hidden size 4; no weight is zero or one."""
    torch.manual_seed(0)
    layer = cell(3, 4, norm=norm, fused=fused)
    for parameter in layer.parameters():
        parameter.data += 0.5 * torch.randn_like(parameter)
    return layer


def example(layer: Recurrent, length: int = 7) -> tuple[Tensor, list[Tensor]]:
    """Return inputs (2, length, 3) and a state that is not zero."""
    torch.manual_seed(1)
    return torch.randn(2, length, 3), [torch.randn(2, 4) for _ in range(layer.tensors_per_state)]


@cells
@pytest.mark.parametrize("fused", [True, False])
def test_equals_the_cell_of_torch(cell: Cell, fused: bool) -> None:
    layer, theirs = make(cell, fused=fused), CELLS[cell](3, 4)
    theirs.weight_ih.data.copy_(layer.input.weight)
    theirs.weight_hh.data.copy_(layer.hidden.weight)
    theirs.bias_ih.data.copy_(layer.input.bias)
    theirs.bias_hh.data.zero_()
    if layer.hidden.bias is not None:
        theirs.bias_hh.data.copy_(layer.hidden.bias)
    inputs, state = example(layer)
    outputs, final = layer(inputs, state)
    for t in range(inputs.size(1)):
        step, _ = layer(inputs[:, t : t + 1], state)
        following = theirs(inputs[:, t], tuple(state) if cell is LSTM else state[0])
        state = list(following) if cell is LSTM else [following]
        torch.testing.assert_close(outputs[:, t], state[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(step[:, 0], state[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(final, state, atol=1e-6, rtol=0)


def test_biases_are_those_of_torch_without_redundancy() -> None:
    """RNN and LSTM add torch's two biases, so one is enough; the GRU multiplies one of them by its reset gate."""
    biases = {cell: [make(cell).input.bias is not None, make(cell).hidden.bias is not None] for cell in CELLS}
    assert biases == {RNN: [True, False], GRU: [True, True], LSTM: [True, False]}


@cells
@norms
def test_a_sequence_equals_its_steps(cell: Cell, norm: bool) -> None:
    layer = make(cell, norm)
    inputs, state = example(layer)
    outputs, final = layer(inputs, state)
    for t in range(inputs.size(1)):
        step, state = layer(inputs[:, t : t + 1], state)
        torch.testing.assert_close(step[:, 0], outputs[:, t])
    torch.testing.assert_close(state, final)


@cells
def test_fused_kernel_and_loop_give_equal_outputs_and_gradients(cell: Cell) -> None:
    fused, loop = make(cell).double(), make(cell, fused=False).double()
    assert fused.fused and not loop.fused
    results = []
    for layer in (fused, loop):
        inputs, state = example(layer)
        inputs, state = inputs.double().requires_grad_(), [s.double().requires_grad_() for s in state]
        outputs, final = layer(inputs, state)
        (outputs.square().sum() + sum(s.sin().sum() for s in final)).backward()
        grads = [x.grad for x in (inputs, *state, *layer.parameters())]
        results.append([outputs.detach(), *(s.detach() for s in final), *grads])
    torch.testing.assert_close(results[0], results[1])


@cells
@norms
@pytest.mark.parametrize("fused", [True, False])
def test_gradcheck(cell: Cell, norm: bool, fused: bool) -> None:
    layer = make(cell, norm, fused).double()
    inputs, state = example(layer, length=3)
    names = [name for name, _ in layer.named_parameters()]
    values = [inputs.double(), *(s.double() for s in state), *(p.detach() for p in layer.parameters())]

    def run(inputs: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        state, parameters = rest[: layer.tensors_per_state], rest[layer.tensors_per_state :]
        named = dict(zip(names, parameters, strict=True))
        outputs, final = torch.func.functional_call(layer, named, (inputs, list(state)))
        return (outputs, *final)

    assert torch.autograd.gradcheck(run, [value.clone().requires_grad_() for value in values], fast_mode=True)


def layer_norm(norm: Any, x: Tensor) -> Tensor:
    """Compute g / sigma * (x - mu) + b for each row (Ba et al. 2016, eq. 4)."""
    mu = x.mean(1, keepdim=True)
    sigma = ((x - mu) ** 2).mean(1, keepdim=True).add(norm.eps).sqrt()
    normalised: Tensor = norm.weight / sigma * (x - mu) + norm.bias
    return normalised


def test_the_normalised_lstm_is_that_of_the_paper() -> None:
    """Ba et al. 2016, eq. 20-22; the bias of each norm takes the place of b, so the matrices have none."""
    layer = make(LSTM, norm=True)
    assert isinstance(layer, LSTM)
    inputs, (h, c) = example(layer)
    outputs, final = layer(inputs, [h, c])
    for t in range(inputs.size(1)):
        recurrent = layer_norm(layer.hidden_norm, h @ layer.hidden.weight.T)
        gates = recurrent + layer_norm(layer.input_norm, inputs[:, t] @ layer.input.weight.T)
        i, f, g, o = gates.split(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * layer_norm(layer.cell_norm, c).tanh()
        torch.testing.assert_close(outputs[:, t], h)
    torch.testing.assert_close(final, [h, c])
    assert layer.input.bias is None and layer.hidden.bias is None


def test_the_normalised_gru_and_rnn() -> None:
    """Each product is normalised on its own, before they are combined."""
    gru, rnn = make(GRU, norm=True), make(RNN, norm=True)
    inputs, (h,) = example(gru)
    outputs, _ = gru(inputs, [h])
    r_x, z_x, n_x = layer_norm(gru.input_norm, inputs[:, 0] @ gru.input.weight.T).split(4, dim=1)
    r_h, z_h, n_h = layer_norm(gru.hidden_norm, h @ gru.hidden.weight.T).split(4, dim=1)
    z = (z_x + z_h).sigmoid()
    expected = (1 - z) * (n_x + (r_x + r_h).sigmoid() * n_h).tanh() + z * h
    torch.testing.assert_close(outputs[:, 0], expected)
    outputs, _ = rnn(inputs, [h])
    a = layer_norm(rnn.input_norm, inputs[:, 0] @ rnn.input.weight.T)
    torch.testing.assert_close(outputs[:, 0], (a + layer_norm(rnn.hidden_norm, h @ rnn.hidden.weight.T)).tanh())


@cells
@norms
def test_the_state_of_zeros(cell: Cell, norm: bool) -> None:
    layer = make(cell, norm)
    state = layer.zero_state(torch.ones(5, 2, 3, dtype=torch.double))
    assert len(state) == layer.tensors_per_state == (2 if cell is LSTM else 1)
    assert all(s.shape == (5, 4) and s.dtype == torch.double and s.eq(0).all() for s in state)


@norms
def test_the_forget_gate_starts_open(norm: bool) -> None:
    layer = LSTM(3, 4, norm=norm)
    bias = layer.input_norm.bias if norm else layer.input.bias
    assert isinstance(bias, Tensor)
    assert bias[4:8].eq(1).all() and bias[:4].eq(0).all() and bias[8:].eq(0).all()


@cells
def test_recurrent_matrices_start_orthogonal(cell: Cell) -> None:
    """Each gate's matrix is orthogonal, so that the state keeps its norm over many steps."""
    for gate in cell(3, 4).hidden.weight.detach().split(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(4), atol=1e-5, rtol=0)
