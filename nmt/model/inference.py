"""The inference form of a model: the same outputs by equations that take less time in decoding.

In the way of the data: **export** converts a copy of the trained model before the model is scripted. Training and
validation use the plain modules, which are the reference that the tests compare with. Each conversion holds for any
weights; outputs differ by rounding only.
"""

# No `from __future__ import annotations`: TorchScript evaluates the annotations of the modules.
import torch
from torch import Tensor, nn

from nmt.model.attention import BahdanauAttention, MultiHeadAttention, TanhLayer


class ExponentialLayer(TanhLayer):
    """The hidden layer of an additive attention from products of exponentials.

        tanh(q + k) = 1 - 2 h        h = 1 / (1 + e^(2q) e^(2k))

    e^(2q) is computed once for each query and e^(2k) once for each source piece, so that a pair of both takes a product
    and a reciprocal in place of a tanh. The energies v^T tanh(q + k) are -2 v^T h and a constant, the sum of v, which
    does not change their softmax: with h in place of tanh, an attention needs the vector -2 v in place of v.

    Exponents are limited to +-86, that is q and k to +-43, so that the factors are neither 0 nor infinite in float32.
    Their product may be: the limits h = 1 and h = 0 are right. So a result can differ only where q and k both exceed 35
    and cancel each other; tanh of either is +-1 to the last digit from 9 on. All is computed in float32 at least:
    exponentials would overflow in float16, and take longer in bfloat16.
    """

    def keys(self, projected: Tensor) -> Tensor:
        """Compute e^(2k) (B, S, A)."""
        return self.exponential(projected)

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """Compute h (B, Q, S, A), for `keys` (B, S, A) as computed by `keys`."""
        query = self.exponential(query)
        # The last operation is in place: the tensor is large, and a second one would have to be allocated in each step.
        return torch.addcmul(query.new_ones([1]), query.unsqueeze(2), keys.unsqueeze(1)).reciprocal_()

    def exponential(self, projected: Tensor) -> Tensor:
        """Compute e^(2x) of `projected`, in float32 or float64."""
        wide = projected if projected.dtype == torch.float64 else projected.float()
        return torch.exp((2.0 * wide).clamp(-86.0, 86.0))


def for_inference(model: nn.Module) -> nn.Module:
    """Convert `model`, in evaluation mode, in place; returns it.

    Additive attentions get an `ExponentialLayer`. All else stays as it is.
    """
    for module in model.modules():
        if isinstance(module, BahdanauAttention | MultiHeadAttention):
            module.hidden_layer = ExponentialLayer()
            module.energy.data.mul_(-2.0)
    return model
