"""Connections around a layer against their equations."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nmt.model.connections import Dense, Highway, NoSkip, Residual

X, Y = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)), torch.linspace(-2, 2, 24).view(2, 3, 4)


def test_plain_stacking_is_the_layers_output() -> None:
    assert NoSkip(7, 4)(torch.zeros(2, 3, 7), Y).equal(Y)


def test_residual_adds() -> None:
    """He et al. 2016, eq. 1: y = F(x) + x."""
    assert Residual(4, 4)(X, Y).equal(Y + X)


def test_highway_mixes_by_its_gate() -> None:
    """Srivastava et al. 2015, eq. 3: y = H(x) T(x) + x (1 - T(x)), T(x) = sigmoid(W x + b)."""
    torch.manual_seed(0)
    highway = Highway(4, 4)
    highway.gate.bias.data.normal_()
    weight, bias = highway.gate.weight, highway.gate.bias
    for n in range(2):
        for t in range(3):
            x, y = X[n, t], Y[n, t]
            gate = 1 / (1 + torch.exp(-(weight @ x + bias)))
            torch.testing.assert_close(highway(X, Y)[n, t], y * gate + x * (1 - gate))


@pytest.mark.parametrize(("bias", "expected"), [(-50.0, X), (50.0, Y)])
def test_highway_gate_shut_and_open(bias: float, expected: torch.Tensor) -> None:
    highway = Highway(4, 4)
    highway.gate.bias.data.fill_(bias)
    torch.testing.assert_close(highway(X, Y), expected)


def test_highway_starts_half_open() -> None:
    assert Highway(4, 4).gate.bias.eq(0).all()


def test_dense_concatenates() -> None:
    """Huang et al. 2017, eq. 2: the next layer reads [x_0 ; x_1 ; ...]."""
    concatenated = Dense(4, 4)(X, Y)
    assert concatenated[:, :, :4].equal(X)
    assert concatenated[:, :, 4:].equal(Y)


@pytest.mark.parametrize("kind", [NoSkip, Residual, Highway, Dense])
def test_the_output_has_the_declared_size(kind: Any) -> None:
    connection = kind(4, 4)
    assert connection(X, Y).shape == (2, 3, connection.size)
