"""Properties of the whole model: padding, teacher forcing, gradients, tying, scripting."""

import pytest
import torch

from nmt.config import DecoderConfig, EncoderConfig, ModelConfig
from nmt.encoder import flip_index
from nmt.model import Seq2Seq
from nmt.special import BOS, EOS, PAD

VOCABULARY = 13


def tiny(layers: int = 2, **options: object) -> Seq2Seq:
    torch.manual_seed(0)
    config = ModelConfig(
        embedding=6,
        encoder=EncoderConfig(layers=layers, hidden=5),
        decoder=DecoderConfig(layers=layers, hidden=7, attention_size=4),
        **{"dropout": 0.0, "dropout_embedding": 0.0, "dropout_word": 0.0, **options},
    )
    model = Seq2Seq(config, VOCABULARY).eval()
    for parameter in model.parameters():  # biases and norms too: zeros and ones hide mistakes
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    model.embedding.weight.data[PAD] = 0
    return model


def sentences() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    src = torch.tensor([[5, 6, 7, 8, EOS], [9, EOS, PAD, PAD, PAD], [4, 4, EOS, PAD, PAD]])
    tgt = torch.tensor([[BOS, 5, 6, 7], [BOS, 9, 9, 9], [BOS, 4, 12, 11]])
    return src, torch.tensor([5, 2, 3]), tgt


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("layer_norm", [True, False])
def test_step_by_step_equals_teacher_forcing(layers: int, layer_norm: bool) -> None:
    model = tiny(layers, layer_norm=layer_norm)
    src, lengths, tgt = sentences()
    expected = model.output(model(src, lengths, tgt))
    memory, state = model.encode(src, lengths)
    for t in range(tgt.size(1)):
        logits, state, weights = model.step(tgt[:, t], state, memory)
        torch.testing.assert_close(logits, expected[:, t])
        torch.testing.assert_close(weights.sum(-1), torch.ones(3))


def test_a_sentence_does_not_see_its_batch() -> None:
    model = tiny()
    src, lengths, tgt = sentences()
    together = model(src, lengths, tgt)
    for b in range(3):
        alone = model(src[b : b + 1, : lengths[b]], lengths[b : b + 1], tgt[b : b + 1])
        torch.testing.assert_close(alone[0], together[b])


def test_what_stands_on_padding_does_not_matter() -> None:
    model = tiny()
    src, lengths, tgt = sentences()
    expected = model(src, lengths, tgt)
    filled = torch.where(src == PAD, torch.tensor(10), src)
    torch.testing.assert_close(model(filled, lengths, tgt), expected)


def test_beams_share_the_memory_of_their_sentence() -> None:
    model = tiny()
    src, lengths, _ = sentences()
    memory, state = model.encode(src, lengths)
    beams = 3
    tokens = torch.tensor([4, 5, 6, 7, 8, 9, 10, 11, 12])
    wide, _, _ = model.step(tokens, [s.repeat_interleave(beams, 0) for s in state], memory)
    for k in range(beams):
        narrow, _, _ = model.step(tokens[k::beams], state, memory)
        torch.testing.assert_close(wide[k::beams], narrow)


def test_the_future_is_not_seen() -> None:
    model = tiny()
    src, lengths, tgt = sentences()
    changed = tgt.clone()
    changed[:, 3] = 8
    torch.testing.assert_close(model(src, lengths, changed)[:, :3], model(src, lengths, tgt)[:, :3])
    assert not torch.allclose(model(src, lengths, changed)[:, 3], model(src, lengths, tgt)[:, 3])


def test_gradients_reach_every_parameter() -> None:
    model = tiny().train()
    src, lengths, tgt = sentences()
    model.output(model(src, lengths, tgt)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_gradcheck_in_double() -> None:
    model = tiny().double()
    src, lengths, tgt = sentences()
    name = "encoder.layers.0.back.hidden.weight"  # the furthest from the output

    def loss(values: torch.Tensor) -> torch.Tensor:
        readout: torch.Tensor = torch.func.functional_call(model, {name: values}, (src, lengths, tgt))
        return readout.square().sum()

    weight = model.get_parameter(name).detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (weight,), eps=1e-5, fast_mode=True)


def test_embeddings_are_tied_three_ways() -> None:
    model = tiny()
    assert model.output.weight is model.embedding.weight


def test_dropout_only_while_training() -> None:
    model = tiny(dropout=0.5, dropout_embedding=0.5, dropout_word=0.5)
    src, lengths, tgt = sentences()
    torch.testing.assert_close(model(src, lengths, tgt), model(src, lengths, tgt))
    model.train()
    assert not torch.allclose(model(src, lengths, tgt), model(src, lengths, tgt))


def test_flip_turns_round_within_the_length() -> None:
    assert flip_index(torch.tensor([4, 2, 1]), 4).tolist() == [[3, 2, 1, 0], [1, 0, 2, 3], [0, 1, 2, 3]]
