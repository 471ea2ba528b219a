"""How much of the gradient reaches back to a source piece: why cells have gates.

In the way of the data: model and validation text -> **gradients** -> figures.

Pascanu et al. 2013 ("On the difficulty of training recurrent neural networks"): between the state behind piece s and
the last one lie S - s steps, and the gradient is multiplied by a Jacobian at each, so that it vanishes exponentially
unless something carries it. What is measured: the training loss of a sentence with teacher forcing, and its gradient
by the embedding of each source piece,

    g_d = || d loss / d x_{S-d} ||,    d = 0 for the piece that the encoder reads last

With a fixed context this gradient has one way: the last state, then back through the encoder alone. (Tied embeddings
make no other: the gradient is taken at the vectors that the encoder reads, not at the table.) Sentences weigh alike:
the geometric mean of g_d / g_0 over all sentences that are long enough is reported.
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
"""at most so many"""
BATCH = 20


def source_gradients(model: Any, batch: Batch) -> Tensor:
    """Norms (B, S) of the gradient of the loss by each source embedding that `model.encoder` reads.

    `model` is a `Seq2Seq` in evaluation mode on the CPU (cuDNN has gradients in training mode only).
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
    """Logarithms (B, size) of `norms` (B, S) at distances 0 .. size - 1 from the piece that is read last.

    `lengths` (B,) are at least `size`; with `reverse` the first piece is read last.
    """
    distance = torch.arange(size).expand(len(lengths), size)
    position = distance if reverse else lengths.unsqueeze(1) - 1 - distance
    chosen = norms.double().gather(1, position).clamp_min(1e-300)  # a gradient may be zero all the same
    logs: NDArray[np.float64] = chosen.log().numpy()
    return logs


def gradient_by_distance(model: Any, split: Split, pieces: int, *, reverse: bool = False) -> tuple[list[float], int]:
    """Geometric mean of g_d / g_0 for d = 0 .. `pieces` - 1, and over how many sentences.

    They are the first of `split` with at least `pieces` source pieces, the end sign counted. Computed in float64: what
    a network without gates lets through over 30 steps is no float32 any more.
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
    """exp of the means of `logs` (sentences, D), each less that at distance 0."""
    means: Sequence[float] = (logs - logs[:, :1]).mean(axis=0).tolist()
    return [math.exp(mean) for mean in means]
