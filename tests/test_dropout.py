"""Dropout masks: what they share, what they keep on average, and that evaluation leaves everything as it is."""

import pytest
import torch

from nmt.dropout import SharedDropout, VariationalDropout, WordDropout


@pytest.mark.parametrize(("layer", "shared"), [(VariationalDropout(0.4), 1), (WordDropout(0.4), 2)])
def test_the_mask_is_shared_along_one_dimension(layer: SharedDropout, shared: int) -> None:
    torch.manual_seed(0)
    kept = layer(torch.ones(6, 5, 7)) != 0
    first = kept.narrow(shared, 0, 1)
    assert (kept == first).all()
    assert 0 < first.float().mean() < 1
    assert not (kept == kept[:1]).all(), "sentences must not share a mask"


@pytest.mark.parametrize("layer", [VariationalDropout(0.3), WordDropout(0.3)])
def test_the_mean_is_kept_while_training_and_everything_in_evaluation(layer: SharedDropout) -> None:
    torch.manual_seed(0)
    inputs = torch.ones(400, 20, 20)
    assert layer(inputs).mean().item() == pytest.approx(1.0, abs=0.02)
    assert layer.eval()(inputs) is inputs


def test_probability_zero_is_off() -> None:
    inputs = torch.ones(2, 3, 4)
    assert VariationalDropout(0.0)(inputs) is inputs
