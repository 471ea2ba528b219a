"""The training form against the plain modules: outputs and gradients, with the C++ kernels and without."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from nmt import kernels
from nmt.config import ModelConfig
from nmt.corpus.batching import Batch
from nmt.model.attention import BahdanauAttention
from nmt.model.recurrent import LSTM
from nmt.model.seq2seq import Seq2Seq
from nmt.model.training import additive_energies, for_training, lstm, transpose, weight_gradients
from nmt.search.interface import Memory
from nmt.training.loss import batch_loss

pytestmark = pytest.mark.skipif(not kernels.load(), reason=kernels.reason)

PRECISIONS = pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


def close(found: list[Tensor], exact: list[Tensor], plain: list[Tensor] | None = None) -> None:
    """Check `found` against `exact` to 2e-5 of its norm; or in bfloat16 about as close as `plain`."""
    for index, (one, right) in enumerate(zip(found, exact, strict=True)):
        distance = float((one.float() - right).norm() / right.norm())
        if plain is None:
            assert distance < 2e-5
        else:
            assert distance < 1.25 * float((plain[index].float() - right).norm() / right.norm()) + 2**-8


def run(layer: nn.Module, inputs: list[Tensor], precision: torch.dtype) -> list[Tensor]:
    """Return the outputs of an LSTM and all gradients of a function of them."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    layer.zero_grad()
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        outputs, final = layer(inputs[0], inputs[1:])
    (outputs.float().square().sum() + sum(s.float().sin().sum() for s in final)).backward()
    gradients = [x.grad for x in (*inputs, *layer.parameters())]
    return [x.detach() for x in (outputs, *final)] + [g for g in gradients if g is not None]


@PRECISIONS
@pytest.mark.parametrize(("rows", "length", "size", "hidden"), [(3, 5, 7, 9), (40, 17, 64, 96), (1, 2, 1, 1)])
def test_the_lstm_equals_the_fused_kernel_of_torch(
    rows: int, length: int, size: int, hidden: int, precision: torch.dtype
) -> None:
    torch.manual_seed(0)
    layer = LSTM(size, hidden)
    inputs = [torch.randn(rows, length, size), torch.randn(rows, hidden), torch.randn(rows, hidden)]
    exact = run(layer, inputs, torch.float32)
    plain = run(layer, inputs, precision)
    layer.training_kernel = lstm
    found = run(layer, inputs, precision)
    assert len(found) == len(exact) == 3 + 3 + 3
    close(found, exact, None if precision == torch.float32 else plain)


@PRECISIONS
@pytest.mark.parametrize("size", [5, 16, 70])
def test_additive_energies_equal_the_equation(size: int, precision: torch.dtype) -> None:
    torch.manual_seed(0)
    query, keys, energy = torch.randn(4, 6, size), torch.randn(4, 9, size), torch.randn(size)
    mask = torch.arange(9) < torch.tensor([9, 1, 4, 8]).unsqueeze(1)
    factors = torch.randn(4, 6, 9)

    def plain(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        energies = torch.matmul(torch.tanh(q.unsqueeze(2) + k.unsqueeze(1)), v.to(q.dtype))
        return energies.masked_fill(~mask.unsqueeze(1), 0.0)

    def results(function: object, dtype: torch.dtype) -> list[Tensor]:
        q, k, v = query.to(dtype).requires_grad_(), keys.to(dtype).requires_grad_(), energy.clone().requires_grad_()
        energies = function(q, k, v, mask)  # type: ignore[operator]
        return [energies.detach(), *torch.autograd.grad((energies.float() * factors).sum(), (q, k, v))]

    exact = results(plain, torch.float32)
    close(
        results(additive_energies, precision),
        exact,
        None if precision == torch.float32 else results(plain, precision),
    )


def test_energies_of_large_and_of_undefined_states() -> None:
    query, keys = torch.full((1, 1, 3), 1e4), torch.tensor([[[-2e4] * 3, [-1e4] * 3, [1e4] * 3]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    energies = additive_energies(query, keys, torch.ones(3), mask)
    assert energies[0, 0, 2] == 3 and energies.isfinite().all()
    assert additive_energies(query * torch.nan, keys, torch.ones(3), mask).isnan().all()


@pytest.mark.parametrize("shape", [(1, 1), (31, 33), (64, 96), (100, 7)])
@PRECISIONS
def test_transposes_exactly(shape: tuple[int, int], precision: torch.dtype) -> None:
    matrix = torch.randn(shape).to(precision)
    assert torch.equal(transpose(matrix), matrix.t())


@pytest.mark.parametrize("sizes", [(50, 8, 200), (50, 200, 8)], ids=["narrow", "wide"])
def test_weight_gradients(sizes: tuple[int, int, int]) -> None:
    rows, size, outputs = sizes
    d_outputs, inputs = torch.randn(rows, outputs).bfloat16(), torch.randn(rows, size).bfloat16()
    (found,) = weight_gradients(d_outputs, inputs)
    exact = d_outputs.float().t() @ inputs.float()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=1e-2, atol=1e-2)


@PRECISIONS
def test_a_step_of_the_model_equals_the_plain_step(precision: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    config = ModelConfig.model_validate(
        {"embedding": 32, "encoder": {"hidden": 24}, "decoder": {"hidden": 40, "attention_size": 16}}
    )
    plain = Seq2Seq(config, 200)
    model = for_training(copy.deepcopy(plain), precision)
    assert sum(isinstance(m, LSTM) and m.training_kernel is lstm for m in model.modules()) in (0, 4)
    assert any(isinstance(m, BahdanauAttention) and m.training_energies is not None for m in model.modules())
    lengths = torch.randint(1, 20, (2, 30)).tolist()
    batch = Batch.from_ids(*([torch.randint(4, 200, (n,)).tolist() for n in side] for side in lengths))

    def step(model: nn.Module, precision: torch.dtype, on: str) -> list[Tensor]:
        monkeypatch.setenv("NMT_KERNELS", on)
        torch.manual_seed(1)  # the same dropout masks
        model.zero_grad()
        loss, nll = batch_loss(model, batch, 0.1, precision)  # type: ignore[arg-type]
        loss.backward()
        return [loss.detach(), nll.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]

    exact = step(plain, torch.float32, "off")
    found = step(model, precision, "on")
    close(found, exact, None if precision == torch.float32 else step(plain, precision, "off"))
    assert [f.dtype for f in found] == [torch.float32] * len(found)


def test_evaluation_uses_the_plain_form() -> None:
    torch.manual_seed(0)
    attention = BahdanauAttention(6, 4, 8)
    memory = attention.memory(torch.randn(2, 3, 4), torch.zeros(2, 4), torch.ones(2, 3, dtype=torch.bool))
    query = torch.randn(2, 5, 6)
    expected = attention.eval()(query, Memory(*memory))[0]
    for_training(attention, torch.float32)
    assert torch.equal(attention(query, memory)[0], expected)
    torch.testing.assert_close(attention.train()(query, memory)[0], expected)
