"""The training loss: label-smoothed cross-entropy.

In the way of the data: model -> **loss** -> optimiser.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nmt.corpus.batching import Batch
from nmt.model.seq2seq import Seq2Seq
from nmt.model.training import fast, weight_gradients
from nmt.text.special_ids import PAD

CHUNK = 256
"""target pieces whose logits are computed at a time on a CPU: they stay in its cache until their gradient is written"""


class _SmoothedCrossEntropy(torch.autograd.Function):
    """Output layer and loss in one function that overwrites the logits (M, V) with their gradient.

    The logits are by far the largest tensor of a step; autograd's chain of log-softmax, gather and mean would allocate
    four more of their size. The tests compare it with that chain.
    """

    @staticmethod
    def forward(
        ctx: Any, readout: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        weight = weight.to(readout.dtype)
        gradient = readout.new_empty(readout.size(0), weight.size(0))
        d_bias = torch.zeros_like(bias, dtype=torch.float32) if fast(readout) else None
        losses: list[Tensor] = []
        for part in zip(*(x.split(CHUNK if x.is_cpu else len(x)) for x in (gradient, readout, target)), strict=True):
            if d_bias is not None:
                torch.mm(part[1], weight.t(), out=part[0])
                losses.append(torch.ops.nmt.softmax_loss(part[0], bias.float(), part[2], smoothing, d_bias))
            else:
                logits = torch.addmm(bias.to(readout.dtype), part[1], weight.t())
                losses.append(softmax_loss(logits, part[2], smoothing, part[0]))
        nll, uniform = torch.cat(losses, dim=1).sum(1)
        ctx.save_for_backward(readout, weight, gradient, d_bias)
        ctx.mark_non_differentiable(nll)
        return (1.0 - smoothing) * nll + smoothing * uniform, nll

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        readout, weight, gradient, d_bias = ctx.saved_tensors
        scale = grad_outputs[0].to(gradient.dtype)
        d_bias = gradient.sum(dim=0) if d_bias is None else d_bias
        # Scaling the small results instead of the large gradient saves a pass over it.
        return (
            (gradient @ weight).mul_(scale),
            weight_gradients(gradient, readout)[0].mul_(scale),
            d_bias * scale,
            None,
            None,
        )


def softmax_loss(logits: Tensor, target: Tensor, smoothing: float, gradient: Tensor) -> Tensor:
    """Write the gradient of the loss at `logits` (M, V) into `gradient` (M, V), given the pieces `target` (M,).

    d loss / d logits = softmax - (1 - eps) onehot - eps / V

    Returns two rows (2, M): -log p of the target, and the mean over the vocabulary of -log p.
    """
    probabilities = torch.softmax(logits, dim=-1)
    highest, at = logits.max(dim=1, keepdim=True)  # its probability is at least 1 / V, so its logarithm is finite
    log_sum = highest.float() - probabilities.gather(1, at).float().log()
    right = log_sum - logits.gather(1, target.unsqueeze(1)).float()
    uniform = log_sum.squeeze(1) - logits.sum(dim=1, dtype=torch.float32) / logits.size(1)
    torch.sub(probabilities, smoothing / logits.size(1), out=gradient)
    gradient[torch.arange(target.size(0), device=target.device), target] -= 1.0 - smoothing
    return torch.stack([right.squeeze(1), uniform])


def smoothed_cross_entropy(
    readout: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Compute the cross-entropy with label smoothing (Szegedy et al. 2016, 7), summed over pieces, in nats.

        loss = - sum_m sum_v q_mv log softmax(W r_m + b)_v,    q_m = (1 - eps) onehot(y_m) + eps / V

    `readout` (M, E) are the readouts for the M target pieces `target` (M,), without padding; `weight` is (V, E), `bias`
    (V,). Returns two scalars: the loss, for the gradient, and the negative log-likelihood without smoothing, for the
    perplexity.
    """
    with torch.autocast(readout.device.type, enabled=False):  # autocast would copy the logits to float32
        return _SmoothedCrossEntropy.apply(readout, weight, bias, target, smoothing)  # type: ignore[no-any-return]


def batch_loss(model: Seq2Seq, batch: Batch, smoothing: float, precision: torch.dtype) -> tuple[Tensor, Tensor]:
    """Compute the smoothed loss and the negative log-likelihood of a batch, summed over target pieces, in nats."""
    with torch.autocast(batch.src.device.type, precision, enabled=precision != torch.float32):
        readout = model(batch.src, batch.src_lengths, batch.tgt_in)
        target = batch.tgt_out.flatten()
        # With a mask for an index the host would wait for the device to count the pieces, which it knows already.
        real = torch.nonzero_static(target != PAD, size=batch.target_tokens).squeeze(1)  # (M,)
        return smoothed_cross_entropy(
            readout.flatten(0, 1)[real], model.output.weight, model.output.bias, target[real], smoothing
        )
