"""The schedule's shape, the weight average, and which parameters decay."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nmt import kernels
from nmt.training.optim import WeightAverage, get_lr, make_optimizer, update


def lr(step: int, progress: float, schedule: str) -> float:
    return get_lr(step, progress, peak=1.0, warmup_steps=10, schedule=schedule, final=0.1)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "inverse_sqrt"])
def test_warms_up_linearly_and_never_rises_again(schedule: str) -> None:
    assert [lr(s, s / 100, schedule) for s in range(10)] == pytest.approx([(s + 1) / 10 for s in range(10)])
    after = [lr(s, s / 100, schedule) for s in range(10, 100)]
    assert all(a >= b > 0 for a, b in pairwise(after))
    assert after[0] <= 1.0


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_ends_at_the_final_share(schedule: str) -> None:
    assert lr(1000, 1.0, schedule) == pytest.approx(0.1)
    assert lr(1000, 7.0, schedule) == pytest.approx(0.1)


def test_cosine_is_half_way_at_half_time() -> None:
    assert lr(1000, 0.5, "cosine") == pytest.approx(0.55)


def test_only_matrices_decay() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    groups = make_optimizer(model, 1e-3, 0.5, (0.9, 0.98)).param_groups
    assert [len(g["params"]) for g in groups] == [1, 3]
    assert [g["weight_decay"] for g in groups] == [0.5, 0.0]


def test_the_average_follows_the_weights_and_swaps_exactly() -> None:
    model = nn.Linear(2, 1)
    average = WeightAverage(model, 0.9)
    for _ in range(200):
        with torch.no_grad():
            model.weight.fill_(3.0)
        average.update(model)
    bias = model.bias.detach().clone()
    model.weight.data.fill_(5.0)
    average.swap(model)
    torch.testing.assert_close(model.weight.data, torch.full((1, 2), 3.0))
    average.swap(model)
    assert model.weight.data.eq(5.0).all() and model.bias.data.equal(bias)


def test_the_average_resumes() -> None:
    model = nn.Linear(2, 2)
    first, second = WeightAverage(model, 0.9), WeightAverage(model, 0.9)
    for _ in range(3):
        model.weight.data.add_(1.0)
        first.update(model)
    second.load_state_dict(first.state_dict())
    model.weight.data.add_(1.0)
    first.update(model)
    second.update(model)
    assert all(a.equal(b) for a, b in zip(first.average.values(), second.average.values(), strict=True))


def test_an_update_with_a_gradient_that_is_not_finite_is_skipped() -> None:
    model = nn.Linear(3, 4)
    optimizer, average = make_optimizer(model, 1e-3, 0.5, (0.9, 0.98)), WeightAverage(model, 0.9)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for norm, changes in ((float("inf"), False), (float("nan"), False), (1.0, True)):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, norm)
        assert update(model, optimizer, average, 1.0).isfinite() == changes
        assert changes != all(map(torch.equal, before, model.parameters()))
    assert average.updates == 1


SHAPES = ((130, 300), (7,), (1, 1), (17, 3))


class Weights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.list = nn.ParameterList(torch.randn(shape) for shape in SHAPES)


def run_updates(updates: list[bool], scale: float = 1.0, decay: float = 0.9) -> list[Tensor]:
    """Make updates, each with the kernel or without, in an optimiser resumed each time; return all of the state."""
    model = Weights()
    state: dict[str, Any] = {}
    means: dict[str, Any] = {}
    for number, kernel in enumerate(updates):
        optimizer, average = make_optimizer(model, 3e-2, 0.1, (0.9, 0.98)), WeightAverage(model, decay)
        if state:
            optimizer.load_state_dict(state)
            average.load_state_dict(means)
        torch.manual_seed(2 + number)
        for parameter in model.parameters():
            parameter.grad = scale * torch.randn(parameter.shape)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NMT_KERNELS", "on" if kernel else "off")
            update(model, optimizer, average, 1.0)
        state, means = optimizer.state_dict(), average.state_dict()
    values = [s[name] for s in state["state"].values() for name in ("step", "exp_avg", "exp_avg_sq")]
    assert average.updates == len(updates)
    return [*(p.detach() for p in model.parameters()), *average.average.values(), *values]


@pytest.mark.skipif(not kernels.load(), reason=kernels.reason)
@pytest.mark.parametrize("scale", [1.0, 1e-5], ids=["clipped", "not clipped"])
def test_the_update_in_one_pass_equals_the_plain_one(scale: float) -> None:
    """So does a run that goes on with the kernels, or without; the same run twice is equal bit for bit."""
    plain = run_updates([False] * 6, scale)
    for updates in ([True] * 6, [False] * 3 + [True] * 3, [True] * 3 + [False] * 3):
        found = run_updates(updates, scale)
        weights = 2 * len(SHAPES)
        torch.testing.assert_close(found[:weights], plain[:weights], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found[weights:], plain[weights:], rtol=2e-5, atol=2e-6 * scale)
        assert all(map(torch.equal, found, run_updates(updates, scale)))
