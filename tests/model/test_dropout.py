"""Dropout: masks are shared along one dimension, the mean is kept, and evaluation changes nothing."""

import pytest
import torch

from nmt.model.dropout import DropoutMasks, MaskSampler, SharedDropout, VariationalDropout, WordDropout, drop


@pytest.mark.parametrize(("layer", "shared_dim"), [(VariationalDropout(0.4), 1), (WordDropout(0.4), 2)])
def test_the_mask_is_shared_along_one_dimension(layer: SharedDropout, shared_dim: int) -> None:
    torch.manual_seed(0)
    kept = layer(torch.ones(6, 5, 7)) != 0
    first = kept.narrow(shared_dim, 0, 1)
    assert (kept == first).all()
    assert 0 < first.float().mean() < 1
    assert not (kept == kept[:1]).all(), "sentences must not share a mask"


@pytest.mark.parametrize("layer", [VariationalDropout(0.3), WordDropout(0.3)])
def test_training_keeps_the_mean_and_evaluation_changes_nothing(layer: SharedDropout) -> None:
    torch.manual_seed(0)
    inputs = torch.ones(400, 20, 20)
    assert layer(inputs).mean().item() == pytest.approx(1.0, abs=0.02)
    assert layer.eval()(inputs) is inputs


def test_probability_zero_changes_nothing() -> None:
    inputs = torch.ones(2, 3, 4)
    assert VariationalDropout(0.0)(inputs) is inputs


def test_masks_drawn_once_per_sequence() -> None:
    """One mask for each part, different between rows, with the mean kept; none in evaluation or at probability 0."""
    torch.manual_seed(0)
    sampler = MaskSampler(0.3, context_size=0, layer_sizes=[500, 60], readout_size=70)
    inputs = torch.randn(40, 9, 70)
    masks = sampler(inputs)
    drawn = [masks.context, *masks.layers, masks.readout]
    assert [mask.shape for mask in drawn] == [(40, 1, 0), (40, 1, 500), (40, 1, 60), (40, 1, 70)]
    assert masks.layers[0].unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert masks.layers[0].mean().item() == pytest.approx(1.0, abs=0.02)
    assert masks.layers[0].unique(dim=0).size(0) == 40, "sentences must not share a mask"
    torch.testing.assert_close(drop(inputs, masks.readout), inputs * masks.readout)
    assert drop(inputs.bfloat16(), masks.readout).dtype == torch.bfloat16
    for off in (sampler.eval(), MaskSampler(0.0, 0, [500, 60], 70)):
        assert off(inputs) == DropoutMasks(None, [None, None], None)
        assert drop(inputs, off(inputs).readout) is inputs


def test_scripted_masks_are_the_same_and_scripting_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    sampler = MaskSampler(0.3, context_size=4, layer_sizes=[5, 5], readout_size=6)
    scripted = torch.jit.script(sampler)
    inputs = torch.randn(3, 9, 4)
    found = []
    for masks in (sampler, scripted):
        torch.manual_seed(0)
        context, layers, readout = masks(inputs)
        found.append([context, *layers, readout])
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
    assert scripted.eval()(inputs).layers == [None, None]
    assert capfd.readouterr().err == ""
