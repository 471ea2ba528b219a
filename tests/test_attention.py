"""Bahdanau attention against the paper's equations, and its properties."""

import torch

from nmt.attention import BahdanauAttention, Memory


def example(batch: int = 3, queries: int = 4, source: int = 6) -> tuple[BahdanauAttention, torch.Tensor, Memory]:
    torch.manual_seed(0)
    attention = BahdanauAttention(query_size=5, memory_size=8, attention_size=7)
    lengths = torch.tensor([source, 2, 4][:batch])
    mask = torch.arange(source).unsqueeze(0) < lengths.unsqueeze(1)
    return attention, torch.randn(batch, queries, 5), attention.memory(torch.randn(batch, source, 8), mask)


def test_equals_the_equations_of_the_paper() -> None:
    attention, query, memory = example()
    context, weights = attention(query, memory)
    w, bias, u, v = attention.query.weight, attention.query.bias, attention.key.weight, attention.energy
    for b in range(3):
        for q in range(4):
            real = memory.values[b][memory.mask[b]]
            energies = torch.stack([v @ torch.tanh(w @ query[b, q] + bias + u @ h) for h in real])
            alpha = energies.exp() / energies.exp().sum()
            torch.testing.assert_close(weights[b, q, : len(real)], alpha)
            torch.testing.assert_close(context[b, q], alpha @ real)


def test_weights_sum_to_one_and_are_zero_on_padding() -> None:
    attention, query, memory = example()
    _, weights = attention(query, memory)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4))
    assert (weights >= 0).all()
    assert weights.masked_select(~memory.mask.unsqueeze(1)).eq(0).all()


def test_padding_changes_nothing() -> None:
    attention, query, memory = example()
    context, weights = attention(query, memory)
    noise = torch.full((3, 5, 8), 1e3)
    wider = attention.memory(
        torch.cat([memory.values, noise], 1), torch.cat([memory.mask, torch.zeros(3, 5, dtype=torch.bool)], 1)
    )
    wider_context, wider_weights = attention(query, wider)
    torch.testing.assert_close(wider_context, context)
    torch.testing.assert_close(wider_weights[:, :, :6], weights)


def test_half_precision_still_sums_to_one() -> None:
    attention, query, memory = example()
    half = Memory(memory.values.bfloat16(), memory.keys.bfloat16(), memory.mask)
    _, weights = attention.bfloat16()(query.bfloat16(), half)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4))
