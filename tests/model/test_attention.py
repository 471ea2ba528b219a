"""Attentions and fixed contexts: each attention against the equations of its paper, and properties of all."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nmt.model.attention import BahdanauAttention, LuongDotAttention, LuongGeneralAttention, MultiHeadAttention
from nmt.model.context import FixedContext, NoContext
from nmt.search.interface import Memory

QUERY, D, A = 8, 8, 6
ATTENTIONS = {
    "bahdanau": lambda: BahdanauAttention(QUERY, D, A),
    "multi_head": lambda: MultiHeadAttention(QUERY, D, A, heads=2),
    "luong_dot": lambda: LuongDotAttention(D),
    "luong_general": lambda: LuongGeneralAttention(QUERY, D),
}
CONTEXTS = {"fixed": lambda: FixedContext(D), "none": NoContext}
LENGTHS = torch.tensor([6, 2, 4])
attentions = pytest.mark.parametrize("kind", ATTENTIONS)
all_kinds = pytest.mark.parametrize("kind", [*ATTENTIONS, *CONTEXTS])


def example(kind: str) -> tuple[Any, Tensor, Memory]:
    """Return an attention, queries (3, 4, QUERY) and the memory of three sentences."""
    torch.manual_seed(0)
    attention: nn.Module = {**ATTENTIONS, **CONTEXTS}[kind]()
    states, mask = torch.randn(3, 6, D), torch.arange(6) < LENGTHS.unsqueeze(1)
    memory: Memory = attention.memory(states, states[:, 0], mask)  # type: ignore[operator]
    return attention, torch.randn(3, 4, QUERY), memory


def softmax_and_sum(energies: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the context (Q, D) and the weights (Q, S) of one sentence from `energies` (Q, S) and `values` (S, D).

    alpha_ij = exp(e_ij) / sum_k exp(e_ik)        c_i = sum_j alpha_ij h_j
    """
    alpha = energies.exp() / energies.exp().sum(1, keepdim=True)
    return torch.einsum("qs,sd->qd", alpha, values), alpha


def expected(kind: str, attention: Any, s: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Compute context (Q, D) and weights (Q, S) of one sentence from queries `s` (Q, H) and states `h` (S, D)."""
    if kind == "luong_dot":  # Luong et al. 2015, eq. 8, over sqrt(D)
        return softmax_and_sum(torch.einsum("qd,sd->qs", s, h) / math.sqrt(h.size(1)), h)
    if kind == "luong_general":
        return softmax_and_sum(torch.einsum("qe,ed,sd->qs", s, attention.key.weight, h) / math.sqrt(s.size(1)), h)
    # Bahdanau et al. 2015, A.1.2: e_ij = v^T tanh(W s_i + U h_j)
    hidden = torch.einsum("ae,qe->qa", attention.query.weight, s) + attention.query.bias
    hidden = (hidden.unsqueeze(1) + torch.einsum("ad,sd->sa", attention.key.weight, h)).tanh()
    if kind == "bahdanau":
        return softmax_and_sum(torch.einsum("a,qsa->qs", attention.energy, hidden), h)
    values = torch.einsum("ed,sd->se", attention.value.weight, h)
    heads = [
        softmax_and_sum(
            torch.einsum("a,qsa->qs", attention.energy[k], hidden[:, :, 3 * k : 3 * k + 3]),
            values[:, 4 * k : 4 * k + 4],
        )
        for k in range(2)
    ]
    return torch.cat([context for context, _ in heads], 1), (heads[0][1] + heads[1][1]) / 2


@attentions
def test_equals_the_equations_of_the_paper(kind: str) -> None:
    attention, query, _ = example(kind)
    for parameter in attention.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    states = torch.randn(3, 6, D)
    memory = attention.memory(states, states[:, 0], torch.arange(6) < LENGTHS.unsqueeze(1))
    context, weights = attention(query, memory)
    for b, length in enumerate(LENGTHS.tolist()):
        c, alpha = expected(kind, attention, query[b], states[b, :length])
        torch.testing.assert_close(weights[b, :, :length], alpha)
        torch.testing.assert_close(context[b], c)


@attentions
def test_weights_sum_to_one_and_are_zero_on_padding(kind: str) -> None:
    attention, query, memory = example(kind)
    _, weights = attention(query, memory)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4))
    assert (weights >= 0).all()
    assert weights.masked_select(~memory.mask.unsqueeze(1)).eq(0).all()


@all_kinds
def test_padding_changes_nothing(kind: str) -> None:
    attention, query, _ = example(kind)
    states, mask = torch.randn(3, 6, D), torch.arange(6) < LENGTHS.unsqueeze(1)
    context, weights = attention(query, attention.memory(states, states[:, 0], mask))
    noise = torch.full((3, 5, D), 1e3)
    mask = torch.cat([mask, torch.zeros(3, 5, dtype=torch.bool)], 1)
    wider = attention.memory(torch.cat([states, noise], 1), states[:, 0], mask)
    wider_context, wider_weights = attention(query, wider)
    torch.testing.assert_close(wider_context, context)
    torch.testing.assert_close(wider_weights[:, :, :6], weights)
    assert wider_weights.shape == (3, 4, 11)


@all_kinds
def test_queries_are_independent_of_each_other(kind: str) -> None:
    attention, query, memory = example(kind)
    context, weights = attention(query, memory)
    for q in range(4):
        one_context, one_weights = attention(query[:, q : q + 1], memory)
        torch.testing.assert_close(one_context[:, 0], context[:, q])
        torch.testing.assert_close(one_weights[:, 0], weights[:, q])


@attentions
def test_the_order_of_the_source_does_not_matter(kind: str) -> None:
    """Attention depends on the content of the states: the weights are permuted with them."""
    attention, query, memory = example(kind)
    order = torch.randperm(6)
    shuffled = Memory(memory.values[:, order], memory.keys[:, order], memory.mask[:, order])
    context, weights = attention(query, memory)
    other_context, other_weights = attention(query, shuffled)
    torch.testing.assert_close(other_context, context)
    torch.testing.assert_close(other_weights, weights[:, :, order])


@attentions
def test_half_precision_still_sums_to_one(kind: str) -> None:
    attention, query, memory = example(kind)
    half = Memory(memory.values.bfloat16(), memory.keys.bfloat16(), memory.mask)
    context, weights = attention.bfloat16()(query.bfloat16(), half)
    assert context.dtype == torch.bfloat16
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4))


@attentions
def test_gradcheck(kind: str) -> None:
    attention, query, memory = example(kind)
    attention.double()

    def context_of(states: Tensor, query: Tensor) -> Tensor:
        context: Tensor = attention(query, attention.memory(states, states[:, 0], memory.mask))[0]
        return context

    values = torch.randn(3, 6, D, dtype=torch.double, requires_grad=True), query.double().requires_grad_()
    assert torch.autograd.gradcheck(context_of, values)


def test_the_fixed_context_is_the_summary_for_every_query() -> None:
    attention, query, memory = example("fixed")
    states = torch.randn(3, 6, D)
    summary = torch.randn(3, D)
    context, weights = attention(query, attention.memory(states, summary, memory.mask))
    assert context.equal(summary.unsqueeze(1).expand(3, 4, D))
    assert weights.equal(torch.zeros(3, 4, 6))
    assert (attention.context_size, attention.query_dependent) == (D, False)


def test_no_context_is_empty() -> None:
    attention, query, memory = example("none")
    context, weights = attention(query, memory)
    assert context.shape == (3, 4, 0)
    assert weights.equal(torch.zeros(3, 4, 6))
    assert (attention.context_size, attention.query_dependent) == (0, False)


@attentions
def test_the_context_has_the_declared_size(kind: str) -> None:
    attention, query, memory = example(kind)
    context, _ = attention(query, memory)
    assert context.size(2) == attention.context_size == D
    assert attention.query_dependent


@pytest.mark.parametrize("kind", ["luong_dot", "luong_general"])
def test_products_of_normalised_states_do_not_saturate_the_softmax(kind: str) -> None:
    """No single one of 30 states of width 256 gets all the weight; without the scale one would, and block learning."""
    torch.manual_seed(0)
    attention = LuongDotAttention(256) if kind == "luong_dot" else LuongGeneralAttention(256, 256)
    states, query = (torch.nn.functional.layer_norm(torch.randn(8, n, 256), (256,)) for n in (30, 20))
    memory = attention.memory(states, states[:, 0], torch.ones(8, 30, dtype=torch.bool))
    assert attention(query, memory)[1].amax(-1).mean() < 0.3
