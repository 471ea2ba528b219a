"""Gradient of the loss at a source piece, by its distance from the last one: why cells have gates.

In the way of the data: model and validation text -> **gradients** -> figures.

Pascanu et al. 2013 ("On the difficulty of training recurrent neural networks"): between the state after piece s and the
last state there are S - s steps. The gradient is multiplied by a Jacobian at each, so that it vanishes exponentially
unless the cell preserves it. Measured is the training loss of a sentence with teacher forcing, and its gradient with
respect to the embedding of each source piece,

    g_d = || d loss / d x_{S-d} ||,    d = 0 for the piece that the encoder reads last

With a fixed context this gradient has one path only: through the last encoder state and back through the encoder.
Tied embeddings add no other, as the gradient is taken at the encoder's input vectors, not at the table. Sentences have
equal weight: the geometric mean of g_d / g_0 over all sentences that are long enough is reported.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmt.corpus.batching import Batch, make_batch
from nmt.corpus.prepared import Split
from nmt.training.loss import batch_loss

SENTENCES = 200
"""most sentences measured"""
BATCH = 20


def source_gradients(model: Any, batch: Batch) -> Tensor:
    """Compute the norms (B, S) of the gradient of the loss at each source embedding, the input of `model.encoder`.

    `model` is a `Seq2Seq` in evaluation mode on the CPU (cuDNN computes gradients in training mode only).
    """
    read: list[Tensor] = []

    def instead(_: object, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        read.append(arguments[0].detach().requires_grad_())
        return (read[0], *arguments[1:])

    hook = model.encoder.register_forward_pre_hook(instead)
    try:
        loss, _ = batch_loss(model, batch, 0.0, torch.float32)
    finally:
        hook.remove()
    (gradient,) = torch.autograd.grad(loss, read)
    norms: Tensor = gradient.norm(dim=-1)
    return norms


def by_distance(norms: Tensor, lengths: Tensor, size: int, *, reverse: bool = False) -> NDArray[np.float64]:
    """Compute the logarithms (B, size) of `norms` (B, S) at distances 0 .. size - 1 from the piece that is read last.

    All `lengths` (B,) are at least `size`; with `reverse` the first piece is read last.
    """
    distance = torch.arange(size).expand(len(lengths), size)
    position = distance if reverse else lengths.unsqueeze(1) - 1 - distance
    chosen = norms.double().gather(1, position).clamp_min(1e-300)  # a gradient may underflow to zero
    logs: NDArray[np.float64] = chosen.log().numpy()
    return logs


def gradient_by_distance(model: Any, split: Split, pieces: int, *, reverse: bool = False) -> tuple[list[float], int]:
    """Compute the geometric mean of g_d / g_0 for d = 0 .. `pieces` - 1; returns it and the number of sentences.

    The sentences are the first of `split` with at least `pieces` source pieces, EOS included. Computed in float64:
    after 30 steps of a network without gates the gradient is smaller than the smallest float32.
    """
    model = copy.deepcopy(model).double().eval()
    chosen = np.flatnonzero(split.source.lengths + 1 >= pieces)[:SENTENCES]
    logs: list[NDArray[np.float64]] = []
    for begin in range(0, len(chosen), BATCH):
        batch = make_batch(split, chosen[begin : begin + BATCH])
        logs.append(by_distance(source_gradients(model, batch), batch.src_lengths, pieces, reverse=reverse))
    if not logs:
        return [], 0
    return relative(np.concatenate(logs)), len(chosen)


def relative(logs: NDArray[np.float64]) -> list[float]:
    """Return exp of the mean over sentences of `logs` (sentences, D), relative to distance 0."""
    means: Sequence[float] = (logs - logs[:, :1]).mean(axis=0).tolist()
    return [math.exp(mean) for mean in means]
