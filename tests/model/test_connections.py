"""Connections around a layer, by their equations."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nmt.model.connections import Dense, Highway, NoSkip, Residual

BELOW, ABOVE = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)), torch.linspace(-2, 2, 24).view(2, 3, 4)


def test_straight_is_the_layers_output() -> None:
    assert NoSkip(7, 4)(torch.zeros(2, 3, 7), ABOVE).equal(ABOVE)


def test_residual_adds() -> None:
    """He et al. 2016, eq. 1: y = F(x) + x."""
    assert Residual(4, 4)(BELOW, ABOVE).equal(ABOVE + BELOW)


def test_highway_chooses() -> None:
    """Srivastava et al. 2015, eq. 3: y = H(x) T(x) + x (1 - T(x)), T(x) = sigmoid(W x + b)."""
    torch.manual_seed(0)
    highway = Highway(4, 4)
    highway.gate.bias.data.normal_()
    weight, bias = highway.gate.weight, highway.gate.bias
    for n in range(2):
        for t in range(3):
            x, h = BELOW[n, t], ABOVE[n, t]
            gate = 1 / (1 + torch.exp(-(weight @ x + bias)))
            torch.testing.assert_close(highway(BELOW, ABOVE)[n, t], h * gate + x * (1 - gate))


@pytest.mark.parametrize(("bias", "chosen"), [(-50.0, BELOW), (50.0, ABOVE)])
def test_highway_gate_shut_and_open(bias: float, chosen: torch.Tensor) -> None:
    highway = Highway(4, 4)
    highway.gate.bias.data.fill_(bias)
    torch.testing.assert_close(highway(BELOW, ABOVE), chosen)


def test_highway_starts_half_open() -> None:
    assert Highway(4, 4).gate.bias.eq(0).all()


def test_dense_hands_on_both() -> None:
    """Huang et al. 2017, eq. 2: the next layer reads [x_0 ; x_1 ; ...]."""
    joined = Dense(4, 4)(BELOW, ABOVE)
    assert joined[:, :, :4].equal(BELOW)
    assert joined[:, :, 4:].equal(ABOVE)


@pytest.mark.parametrize("kind", [NoSkip, Residual, Highway, Dense])
def test_the_size_is_said_beforehand(kind: Any) -> None:
    connection = kind(4, 4)
    assert connection(BELOW, ABOVE).shape == (2, 3, connection.size)
