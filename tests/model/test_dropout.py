"""Dropout masks: what they share, what they keep on average, and that evaluation leaves everything as it is."""

import pytest
import torch

from nmt.model.dropout import DropoutMasks, SharedDropout, VariationalDropout, WordDropout, drop


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


def test_masks_that_are_drawn_beforehand() -> None:
    """One for each size, other ones in each row, the same mean; none in evaluation and at probability zero."""
    torch.manual_seed(0)
    masks = DropoutMasks(0.3, [500, 0, 70])
    drawn = masks(torch.ones(40, 9, 3))
    assert [mask.shape for mask in drawn] == [(40, 1, 500), (40, 1, 0), (40, 1, 70)]
    assert drawn[0].unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert drawn[0].mean().item() == pytest.approx(1.0, abs=0.02)
    assert drawn[0].unique(dim=0).size(0) == 40, "sentences must not share a mask"
    inputs = torch.randn(40, 9, 70)
    torch.testing.assert_close(drop(inputs, drawn, 2), inputs * drawn[2])
    assert drop(inputs.bfloat16(), drawn, 2).dtype == torch.bfloat16
    for off in (masks.eval(), DropoutMasks(0.0, [500])):
        assert off(inputs) == []
        assert drop(inputs, off(inputs), 0) is inputs
