"""The inference form of a model against the trained model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nmt.model.attention import BahdanauAttention, MultiHeadAttention
from nmt.model.inference import for_inference
from nmt.model.seq2seq import Seq2Seq
from tests.family import Choice, covering_array, member, name, seeded

QUERY, D, A = 12, 16, 24
ADDITIVE: dict[str, Callable[[], BahdanauAttention | MultiHeadAttention]] = {
    "bahdanau": lambda: BahdanauAttention(QUERY, D, A),
    "multi_head": lambda: MultiHeadAttention(QUERY, D, A, heads=2),
}
additive = pytest.mark.parametrize("kind", ADDITIVE)


def both(attention: Any, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> list[tuple[Tensor, Tensor]]:
    """Return contexts and weights of three sentences: of `attention`, and of its inference form."""
    torch.manual_seed(2)
    states, query = (scale * torch.randn(3, 9, D)).to(dtype), (scale * torch.randn(3, 4, QUERY)).to(dtype)
    mask = torch.arange(9) < torch.tensor([[9], [1], [5]])
    forms = attention, for_inference(nn.ModuleList([copy.deepcopy(attention)]))[0]  # type: ignore[index]
    return [form.to(dtype)(query, form.memory(states, states[:, 0], mask)) for form in forms]


@additive
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("scale", [0.1, 3.0, 20.0])
def test_exponentials_give_the_weights_of_tanh(kind: str, scale: float, dtype: torch.dtype) -> None:
    """At scale 20 most of the hidden layer is saturated."""
    torch.manual_seed(1)
    attention = ADDITIVE[kind]()
    attention.energy.data.mul_(4.0)  # else the weights are almost uniform
    (context, weights), (found_context, found_weights) = both(attention, scale, dtype)
    rounding = 8 * scale * torch.finfo(dtype).eps  # a projection of size `scale` is rounded in both forms
    torch.testing.assert_close(found_weights, weights, rtol=10 * rounding, atol=rounding)
    torch.testing.assert_close(found_context, context, rtol=10 * rounding, atol=10 * scale * rounding)


@additive
def test_exponentials_are_nearer_to_float32_than_tanh_in_bfloat16(kind: str) -> None:
    torch.manual_seed(1)
    attention = ADDITIVE[kind]()
    attention.energy.data.mul_(4.0)
    (_, expected), _ = both(attention.bfloat16().float())  # the rounded weights, computed in float32
    (_, plain), (_, found) = both(attention, dtype=torch.bfloat16)
    assert found.dtype == torch.float32
    assert (found - expected).abs().mean() < (plain - expected).abs().mean()


@additive
def test_saturated_projections_give_numbers(kind: str) -> None:
    """Products of exponentials overflow and underflow here; the limits are right."""
    attention = ADDITIVE[kind]()
    (_, plain), (_, found) = both(attention, scale=1e4)
    assert found.isfinite().all()
    torch.testing.assert_close(found.sum(2), plain.sum(2))


VOCABULARY = 13
SRC, LENGTHS = torch.tensor([[5, 6, 7, 3], [9, 3, 0, 0], [3, 0, 0, 0]]), torch.tensor([4, 2, 1])
TGT = torch.tensor([[2, 5, 6, 7], [2, 9, 9, 9], [2, 4, 12, 11]])


def log_probs(model: Any) -> Tensor:
    """Compute log-probabilities (B, T, V) step by step."""
    memory, state = model.encode(SRC, LENGTHS)
    steps = []
    for tokens in TGT.unbind(1):
        logits, state, _ = model.step(tokens, state, memory)
        steps.append(logits.log_softmax(1))
    return torch.stack(steps, 1)


def inference_form(model: Seq2Seq) -> nn.Module:
    return for_inference(copy.deepcopy(model))


@pytest.mark.parametrize("choice", covering_array(), ids=name)
@torch.inference_mode()
def test_every_member_keeps_its_output(choice: Choice) -> None:
    model = seeded(member(choice), VOCABULARY).double()
    expected = log_probs(model)
    torch.testing.assert_close(log_probs(inference_form(model)), expected, rtol=1e-9, atol=1e-11)
    found, expected = log_probs(inference_form(model.float())), log_probs(model)
    torch.testing.assert_close(found, expected, rtol=3e-6, atol=3e-6)
