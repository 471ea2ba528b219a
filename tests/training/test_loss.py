"""The fused loss against torch's own chain of operations."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional

from nmt.corpus.batching import Batch
from nmt.model.seq2seq import Seq2Seq
from nmt.training.loss import batch_loss, smoothed_cross_entropy
from tests.family import Choice, covering_array, member, name


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_equals_cross_entropy_of_torch(smoothing: float) -> None:
    torch.manual_seed(0)
    tensors = [torch.randn(*size, dtype=torch.double, requires_grad=True) for size in ((7, 5), (11, 5), (11,))]
    readout, weight, bias = tensors
    target = torch.randint(11, (7,))
    loss, nll = smoothed_cross_entropy(readout, weight, bias, target, smoothing)
    logits = readout @ weight.t() + bias
    expected = functional.cross_entropy(logits, target, label_smoothing=smoothing, reduction="sum")
    # The sums over pieces are in float32.
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        nll.double(), functional.cross_entropy(logits, target, reduction="sum"), rtol=1e-5, atol=1e-5
    )
    actual = torch.autograd.grad(3 * loss, tensors)
    torch.testing.assert_close(actual, torch.autograd.grad(3 * expected, tensors))


def test_bfloat16_gradients_are_close() -> None:
    torch.manual_seed(0)
    readout, weight, bias = torch.randn(64, 32), torch.randn(100, 32), torch.randn(100)
    target = torch.randint(100, (64,))

    def gradients(dtype: torch.dtype) -> list[torch.Tensor]:
        tensors = [t.to(dtype).requires_grad_() for t in (readout, weight, bias)]
        loss, _ = smoothed_cross_entropy(tensors[0], tensors[1], tensors[2], target, 0.1)
        return [g.float() for g in torch.autograd.grad(loss, tensors)]

    for half, full in zip(gradients(torch.bfloat16), gradients(torch.float32), strict=True):
        assert (half - full).norm() / full.norm() < 0.02


def test_the_perplexity_has_no_smoothing_in_it() -> None:
    readout, weight, bias = torch.zeros(4, 2), torch.zeros(10, 2), torch.zeros(10)
    _, nll = smoothed_cross_entropy(readout, weight, bias, torch.tensor([1, 2, 3, 4]), 0.3)
    torch.testing.assert_close((nll / 4).exp(), torch.tensor(10.0))


@pytest.mark.parametrize("choice", covering_array()[::8], ids=name)
def test_a_step_never_waits_for_the_device(choice: Choice, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device, whose tensors have no values: an operation that needs one on the host raises an error."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it does not know this device
    with torch.device("meta"):
        model = Seq2Seq(member(choice, dropout=0.1, dropout_word=0.1), 13).train()
    batch = Batch.from_ids([[5, 6, 7], [8]], [[5, 6], [9, 9, 9]]).to("meta")
    loss, _ = batch_loss(model, batch, 0.1, torch.float32)
    (loss / batch.target_tokens).backward()
    assert nn.utils.clip_grad_norm_(model.parameters(), 1.0).is_meta
