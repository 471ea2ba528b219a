"""int8 weights: a quarter of the size and, on a CPU with VNNI, several times the speed.

In the way of the data: **export** replaces the Linear and Embedding layers of a trained model by these before the model
is scripted. The exported file contains their code.

torch's own dynamic quantisation scales the activations of a whole batch by one number, so the translation of a sentence
would depend on the other sentences of its batch. Here each row has its own scale, and sums of int8 products are exact:
the result for a row is the same in every batch. A tied embedding is stored once.
"""

# No `from __future__ import annotations`: TorchScript evaluates the annotations of the modules.
import copy

import torch
from torch import Tensor, nn

_LEVELS = 127.0
_TINY = 1e-12  # avoids a division by zero for a row of zeros


def quantise_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise `weight` (O, I): int8 (O, I) and one scale per row (O,), with weight ~ int8 * scale."""
    scale = weight.float().abs().amax(dim=1).clamp_min(_TINY) / _LEVELS
    return torch.round(weight.float() / scale.unsqueeze(1)).to(torch.int8), scale


class Int8Linear(nn.Module):
    """y = x W^T + b with W in int8, one scale per output, and x rounded to int8, one scale per row."""

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)  # (O, I) int8
        self.register_buffer("scale", scale)  # (O,)
        self.register_buffer("bias", torch.zeros_like(scale) if bias is None else bias.detach().float())
        self.integer_products = True
        """whether this device computes int8 products exactly, set on loading; else weights are widened in each call"""

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `inputs` (..., I) float32 to (..., O) float32."""
        rows = inputs.reshape(-1, inputs.size(-1))
        if self.integer_products:
            scale = rows.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127.0
            products = torch._int_mm((rows / scale).round_().to(torch.int8), self.weight.t())
            # In place: allocating three more tensors of this size takes longer than computing them.
            outputs = products.to(inputs.dtype).mul_(scale).mul_(self.scale).add_(self.bias)
        else:
            outputs = nn.functional.linear(rows, self.weight.to(inputs.dtype) * self.scale.unsqueeze(1), self.bias)
        return outputs.reshape(inputs.shape[:-1] + self.weight.shape[:1])


class Int8Embedding(nn.Module):
    """An embedding table in int8, one scale per row."""

    weight: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)  # (V, E) int8
        self.register_buffer("scale", scale)  # (V,)

    def forward(self, ids: Tensor) -> Tensor:
        """Look up the embeddings (..., E), float32, of `ids` (...)."""
        return nn.functional.embedding(ids, self.weight).to(self.scale.dtype) * self.scale[ids].unsqueeze(-1)


def quantise(model: nn.Module) -> nn.Module:
    """Return a copy of `model` in evaluation mode with all Linear and Embedding weights in int8; tied ones stay tied.

    The attribute `fused` of a layer means that a fused kernel reads its weights; it is set to False.
    """
    model = copy.deepcopy(model).eval()
    tables: dict[int, tuple[Tensor, Tensor]] = {}  # by address, so that tied weights give one table

    def table(weight: Tensor) -> tuple[Tensor, Tensor]:
        return tables.setdefault(weight.data_ptr(), quantise_rows(weight.detach()))

    for parent in list(model.modules()):
        if hasattr(parent, "fused"):
            parent.fused = False  # type: ignore[assignment]
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, Int8Linear(*table(child.weight), child.bias))
            elif isinstance(child, nn.Embedding):
                setattr(parent, name, Int8Embedding(*table(child.weight)))
    return model
