"""The training loss: label-smoothed cross-entropy.

In the way of the data: model -> **loss** -> optimiser.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nmt.corpus.batching import Batch
from nmt.model.seq2seq import Seq2Seq
from nmt.text.special_ids import PAD


class _SmoothedCrossEntropy(torch.autograd.Function):
    """Output layer and loss in one function that overwrites the logits (M, V) with their gradient.

    The logits are by far the largest tensor of a step; autograd's chain of log-softmax, gather and mean would allocate
    four more of their size. The tests compare it with that chain.
    """

    @staticmethod
    def forward(
        ctx: Any, readout: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        log_probs = torch.log_softmax(torch.addmm(bias, readout, weight.t()), dim=-1)
        right = log_probs.gather(1, target.unsqueeze(1))
        nll = -right.float().sum()
        uniform = -log_probs.sum(dim=-1).float().sum() / log_probs.size(1)
        # d loss / d logits = softmax - (1 - eps) onehot - eps / V
        gradient = log_probs.exp_().sub_(smoothing / log_probs.size(1))
        gradient[torch.arange(target.size(0), device=target.device), target] -= 1.0 - smoothing
        ctx.save_for_backward(readout, weight, gradient)
        ctx.mark_non_differentiable(nll)
        return (1.0 - smoothing) * nll + smoothing * uniform, nll

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        readout, weight, gradient = ctx.saved_tensors
        scale = grad_outputs[0].to(gradient.dtype)
        # Scaling the small results instead of the large gradient saves a pass over it.
        return (
            (gradient @ weight).mul_(scale),
            (gradient.t() @ readout).mul_(scale),
            gradient.sum(dim=0).mul_(scale),
            None,
            None,
        )


def smoothed_cross_entropy(
    readout: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Compute the cross-entropy with label smoothing (Szegedy et al. 2016, 7), summed over pieces, in nats.

        loss = - sum_m sum_v q_mv log softmax(W r_m + b)_v,    q_m = (1 - eps) onehot(y_m) + eps / V

    `readout` (M, E) are the readouts for the M target pieces `target` (M,), without padding; `weight` is (V, E), `bias`
    (V,). Returns two scalars: the loss, for the gradient, and the negative log-likelihood without smoothing, for the
    perplexity.
    """
    dtype = readout.dtype
    with torch.autocast(readout.device.type, enabled=False):  # autocast would copy the logits to float32
        return _SmoothedCrossEntropy.apply(readout, weight.to(dtype), bias.to(dtype), target, smoothing)  # type: ignore[no-any-return]


def batch_loss(model: Seq2Seq, batch: Batch, smoothing: float, precision: torch.dtype) -> tuple[Tensor, Tensor]:
    """Compute the smoothed loss and the negative log-likelihood of a batch, summed over target pieces, in nats."""
    with torch.autocast(batch.src.device.type, precision, enabled=precision != torch.float32):
        readout = model(batch.src, batch.src_lengths, batch.tgt_in)
        real = batch.tgt_out != PAD
        return smoothed_cross_entropy(
            readout[real], model.output.weight, model.output.bias, batch.tgt_out[real], smoothing
        )
