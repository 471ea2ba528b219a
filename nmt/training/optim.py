"""Optimiser, learning-rate schedule and the running average of the weights.

In the way of the data: loss -> **optim** -> checkpoint.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nmt import kernels


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
        weights = [p.detach() for p in model.parameters()]
        torch._foreach_lerp_(list(self.average.values()), weights, 1.0 - self.next_decay())

    def next_decay(self) -> float:
        """Count an update, and return its decay."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        return decay

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


def update(model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage, clip_norm: float) -> Tensor:
    """Clip the gradient, and update the weights and their average; returns the norm that the gradient had.

    If that is not finite, nothing is updated. On a GPU the optimiser's kernel decides that, because the host would have
    to wait for the norm; the average is then updated with the weights as they are. On a CPU a C++ kernel does all in
    one pass, from the second update on (in the first the optimiser makes its state), with the same result up to
    rounding.
    """
    norm = nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    if norm.is_cuda:
        optimizer.found_inf = (~torch.isfinite(norm)).float()  # type: ignore[attr-defined]
    elif not torch.isfinite(norm):
        return norm
    elif kernels.load() and all(_fits(p, optimizer) for p in model.parameters()):
        _update_in_one_pass(model, optimizer, average, min(1.0, clip_norm / (float(norm) + 1e-6)))
        return norm
    nn.utils.clip_grads_with_norm_(model.parameters(), clip_norm, norm)
    optimizer.step()
    average.update(model)
    return norm


def _fits(parameter: Tensor, optimizer: torch.optim.Optimizer) -> bool:
    """Return whether the kernel can update `parameter`: it has a gradient and state, all float32 in one block."""
    state = optimizer.state.get(parameter)
    if not state or parameter.grad is None:
        return False
    tensors = (parameter, parameter.grad, state["exp_avg"], state["exp_avg_sq"])
    return all(x.dtype == torch.float32 and x.is_cpu and x.is_contiguous() for x in (*tensors, state["step"]))


@torch.no_grad()
def _update_in_one_pass(
    model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage, scale: float
) -> None:
    """Do what the gradient's product with `scale`, `optimizer.step` and `average.update` do."""
    averages = dict(zip(model.parameters(), average.average.values(), strict=True))
    to_average = 1.0 - average.next_decay()
    for group in optimizer.param_groups:
        states = [[optimizer.state[p][name] for p in group["params"]] for name in ("exp_avg", "exp_avg_sq", "step")]
        torch.ops.nmt.adamw(
            group["params"],
            [p.grad for p in group["params"]],
            *states,
            [averages[p] for p in group["params"]],
            scale,
            group["lr"],
            *group["betas"],
            group["eps"],
            group["weight_decay"],
            to_average,
        )
