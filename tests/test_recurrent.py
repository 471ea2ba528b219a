"""The LSTM layer against torch's cell, and the fused path against the plain one."""

import pytest
import torch
from torch import nn

from nmt.recurrent import LSTM


@pytest.mark.parametrize("fused", [True, False])
def test_equals_the_cell_of_torch(fused: bool) -> None:
    torch.manual_seed(0)
    layer, cell = LSTM(3, 4, fused=fused), nn.LSTMCell(3, 4)
    cell.weight_ih.data.copy_(layer.input.weight)
    cell.weight_hh.data.copy_(layer.hidden.weight)
    cell.bias_ih.data.copy_(layer.input.bias)
    cell.bias_hh.data.zero_()
    inputs, state = torch.randn(2, 7, 3), [torch.randn(2, 4), torch.randn(2, 4)]
    outputs, final = layer(inputs, state)
    h, c = state
    for t in range(7):
        h, c = cell(inputs[:, t], (h, c))
        torch.testing.assert_close(outputs[:, t], h, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(final, [h, c], atol=1e-6, rtol=1e-5)


def test_a_sequence_equals_its_steps() -> None:
    torch.manual_seed(0)
    layer = LSTM(3, 4)
    inputs, state = torch.randn(2, 5, 3), layer.zero_state(torch.randn(2, 5, 3))
    outputs, final = layer(inputs, state)
    for t in range(5):
        step, state = layer(inputs[:, t : t + 1], state)
        torch.testing.assert_close(step[:, 0], outputs[:, t])
    torch.testing.assert_close(state, final)


def test_fused_and_plain_have_the_same_gradients() -> None:
    torch.manual_seed(0)
    fused, plain = LSTM(3, 4), LSTM(3, 4, fused=False)
    plain.load_state_dict(fused.state_dict())
    inputs = torch.randn(2, 6, 3)
    for layer in (fused, plain):
        layer(inputs, layer.zero_state(inputs))[0].square().sum().backward()
    for a, b in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_gradcheck() -> None:
    torch.manual_seed(0)
    layer = LSTM(2, 3, fused=False).double()
    inputs = torch.randn(2, 4, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x, layer.zero_state(x))[0], (inputs,))


def test_the_forget_gate_starts_open() -> None:
    bias = LSTM(3, 4).input.bias
    assert bias[4:8].eq(1).all() and bias[:4].eq(0).all() and bias[8:].eq(0).all()
