"""The schedule's shape, the weight average, and which parameters decay."""

from itertools import pairwise

import pytest
import torch
from torch import nn

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
        update(model, optimizer, average, torch.tensor(norm))
        assert changes != all(map(torch.equal, before, model.parameters()))
    assert average.updates == 1
