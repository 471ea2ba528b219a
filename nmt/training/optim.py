"""Optimiser, learning-rate schedule and the running average of the weights.

In the way of the data: loss -> **optim** -> checkpoint.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def make_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float, betas: tuple[float, float]
) -> torch.optim.AdamW:
    """Make AdamW (Loshchilov & Hutter 2019) with weight decay on matrices, none on biases, norms and vectors."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=1e-8, fused=True)


def get_lr(step: int, progress: float, *, peak: float, warmup_steps: int, schedule: str, final: float) -> float:
    """Return the learning rate of update `step` (from 0), with the share `progress` (0 to 1) of the run's bound used.

    It rises linearly to `peak` over `warmup_steps`. Then it stays (constant), falls with the square root of the step
    (inverse_sqrt), or falls to `final * peak` at the bound, linearly (linear) or on half a cosine (cosine).
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = min(max(progress, 0.0), 1.0)
    if schedule == "linear":
        return peak * (final + (1.0 - final) * (1.0 - progress))
    if schedule == "cosine":
        return peak * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress)))
    if schedule == "inverse_sqrt":
        return peak * math.sqrt(max(warmup_steps, 1) / (step + 1))
    return peak


class WeightAverage:
    """Exponential moving average of the weights (Polyak & Juditsky 1992), which translates better than any one update.

    `decay` is the highest decay per step; at update n it is at most (1 + n) / (10 + n), so that the random start fades
    soon.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model's weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in model.parameters()], 1.0 - decay)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the model's weights and the average."""
        for name, parameter in model.named_parameters():
            kept = parameter.detach().clone()
            parameter.copy_(self.average[name])
            self.average[name].copy_(kept)

    def state_dict(self) -> dict[str, Tensor | int]:
        """Return the average and the number of updates."""
        return {"updates": self.updates, **self.average}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Restore what `state_dict` returned."""
        for name, value in state.items():
            if isinstance(value, Tensor):
                self.average[name].copy_(value)
            else:
                self.updates = value


def update(model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage, norm: Tensor) -> None:
    """Update the weights and their average, unless the gradient's `norm` is not finite.

    On a GPU the optimiser's kernel decides that, because the host would have to wait for the norm. The average is then
    updated with the weights as they are.
    """
    if norm.is_cuda:
        optimizer.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
    elif not torch.isfinite(norm):
        return
    optimizer.step()
    average.update(model)
