"""The decoder's initial state, and the encoder's summary that it is computed from; padding has no effect."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.model.bridge import LastState, MeanState, ZeroState
from nmt.text.special_ids import BOS, EOS
from tests.family import DEFAULTS, member, seeded

LENGTHS = torch.tensor([5, 2, 1])
MASK = torch.arange(5) < LENGTHS.unsqueeze(1)
D, H, LAYERS = 6, 4, 3


def example(kind: Any) -> tuple[Any, Tensor, Tensor]:
    """Return a bridge, states (3, 5, D) and a summary (3, D)."""
    torch.manual_seed(0)
    bridge = kind(D, H, LAYERS)
    for parameter in bridge.parameters():
        parameter.data.normal_()
    return bridge, torch.randn(3, 5, D), torch.randn(3, D)


@pytest.mark.parametrize("kind", [LastState, MeanState])
def test_a_state_for_each_layer(kind: Any) -> None:
    """s_0 = tanh(W h + b), where h is the summary or the mean of the real states (Nematus, eq. 1)."""
    bridge, states, summary = example(kind)
    found = bridge(states, summary, MASK)
    assert len(found) == LAYERS
    for b, length in enumerate(LENGTHS.tolist()):
        h = summary[b] if kind is LastState else sum(states[b, :length]) / length
        expected = torch.tanh(bridge.initial.weight @ h + bridge.initial.bias)
        torch.testing.assert_close(torch.cat([state[b] for state in found]), expected)


def test_the_zero_state() -> None:
    bridge, states, summary = example(ZeroState)
    found = bridge(states.double(), summary.double(), MASK)
    assert len(found) == LAYERS and not list(bridge.parameters())
    assert all(state.equal(torch.zeros(3, H, dtype=torch.double)) for state in found)
    found[0].add_(1)
    assert found[1].eq(0).all(), "each layer needs a tensor of its own: the search writes into them"


@pytest.mark.parametrize("kind", [LastState, MeanState, ZeroState])
@pytest.mark.parametrize("filler", [7.0, float("nan")])
def test_padding_does_not_matter(kind: Any, filler: float) -> None:
    bridge, states, summary = example(kind)
    expected = bridge(states, summary, MASK)
    found = bridge(states.masked_fill(~MASK.unsqueeze(2), filler), summary, MASK)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("connections", ["none", "dense"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_summary_is_the_last_state_of_each_direction(bidirectional: bool, connections: str, reverse: bool) -> None:
    """The forward direction ends at the last piece, the backward one at the first; `reverse` swaps them."""
    choice = {**DEFAULTS, "encoder.layers": 2, "encoder.bidirectional": bidirectional}
    model = seeded(member({**choice, "encoder.connections": connections, "reverse_source": reverse}), 13)
    src = torch.tensor([[4, 5, 6, 7, EOS], [8, EOS, 0, 0, 0], [EOS, 0, 0, 0, 0]])
    states, summary = model.encoder(model.embed_source(src), LENGTHS)
    directions, layers = 2 if bidirectional else 1, 2 if connections == "dense" else 1
    states, summary = states.unflatten(2, [layers, directions, -1]), summary.unflatten(1, [layers, directions, -1])
    for b, length in enumerate(LENGTHS.tolist()):
        ends = (0, length - 1) if reverse else (length - 1, 0)
        for direction in range(directions):
            assert summary[b, :, direction].equal(states[b, ends[direction], :, direction])


@pytest.mark.parametrize("kind", ["last", "mean", "zero"])
def test_the_initial_state_depends_on_the_source_unless_it_is_zero(kind: str) -> None:
    model = seeded(member({**DEFAULTS, "decoder.initial_state": kind}), 13)
    _, state = model.encode(torch.tensor([[4, 5, EOS], [6, 7, EOS]]), torch.tensor([3, 3]))
    assert any(not s[0].equal(s[1]) for s in state) == (kind != "zero")


def test_only_the_hidden_state_is_bridged() -> None:
    """The LSTM's memory cells start at zero, and so does the readout of input feeding."""
    model = seeded(member({**DEFAULTS, "decoder.input_feeding": True}), 13)
    _, state = model.encode(torch.tensor([[4, BOS, EOS]]), torch.tensor([3]))
    assert [bool(s.eq(0).all()) for s in state] == [False, True, False, True, True]
