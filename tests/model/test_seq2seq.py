"""The whole model: embeddings, tying and dropout. The properties of all family members are in test_family.py."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nmt.config import ModelConfig
from nmt.model.encoder import flip_index
from nmt.model.seq2seq import Seq2Seq
from nmt.text.special_ids import BOS, EOS, PAD
from tests.family import DEFAULTS, member, seeded

VOCABULARY = 13
SRC = torch.tensor([[5, 6, 7, 8, EOS], [9, EOS, PAD, PAD, PAD], [4, 4, EOS, PAD, PAD]])
LENGTHS = torch.tensor([5, 2, 3])
TGT = torch.tensor([[BOS, 5, 6, 7], [BOS, 9, 9, 9], [BOS, 4, 12, 11]])


def tiny(**options: object) -> Seq2Seq:
    """Build the default member of the family in tiny sizes."""
    return seeded(member(DEFAULTS, **options), VOCABULARY)


@pytest.mark.parametrize(("tying", "tables"), [("three_way", 1), ("target", 2), ("none", 3)])
def test_embeddings_are_tied(tying: str, tables: int) -> None:
    model = tiny(tying=tying)
    target, source, output = model.embedding.weight, model.source_embedding.weight, model.output.weight
    assert len({id(target), id(source), id(output)}) == tables
    assert (output is target) == (tying != "none")
    assert (source is target) == (tying == "three_way")
    wide = [p for p in model.parameters() if p.shape == (VOCABULARY, 6)]
    assert len(wide) == tables, "a shared table is one parameter"


@pytest.mark.parametrize("tying", ["three_way", "target", "none"])
def test_embeddings_start_with_length_one_and_padding_with_none(tying: str) -> None:
    torch.manual_seed(0)
    model = Seq2Seq(ModelConfig.model_validate({"embedding": 64, "tying": tying}), 500)
    for embed, table in ((model.embed_source, model.source_embedding), (model.embed_target, model.embedding)):
        assert table.weight[4:].norm(dim=1).mean().item() == pytest.approx(1.0, abs=0.05)
        assert table.weight[PAD].eq(0).all()
        model.eval()
        torch.testing.assert_close(embed(torch.tensor([[7]]))[0, 0], table.weight[7] * 8.0)
    assert model.output.bias.eq(0).all()


def test_source_and_target_have_their_own_tables() -> None:
    model = tiny(tying="none")
    assert not torch.allclose(model.embed_source(TGT), model.embed_target(TGT))


def test_tables_stay_tied_after_loading() -> None:
    one, other = tiny(tying="target"), Seq2Seq(member(DEFAULTS, tying="target"), VOCABULARY).eval()
    other.load_state_dict(one.state_dict())
    assert other.output.weight is other.embedding.weight
    torch.testing.assert_close(other(SRC, LENGTHS, TGT), one(SRC, LENGTHS, TGT), rtol=0, atol=0)


@pytest.mark.parametrize("dropout", ["dropout", "dropout_embedding", "dropout_word"])
def test_dropout_only_while_training(dropout: str) -> None:
    model = tiny(**{dropout: 0.5})
    torch.testing.assert_close(model(SRC, LENGTHS, TGT), model(SRC, LENGTHS, TGT), rtol=0, atol=0)
    model.train()
    assert not torch.allclose(model(SRC, LENGTHS, TGT), model(SRC, LENGTHS, TGT))


@pytest.mark.parametrize("wiring", ["gnmt", "bahdanau", "luong", "conditional"])
@pytest.mark.parametrize("feeding", [False, True])
def test_dropout_is_everywhere(wiring: str, feeding: bool) -> None:
    """Half of the features of each layer's output, context and readout are dropped at p = 0.5, others in each row."""
    choice = {**DEFAULTS, "encoder.layers": 2, "decoder.layers": 2, "decoder.wiring": wiring}
    config = member({**choice, "decoder.input_feeding": feeding}, dropout=0.5)
    model = seeded(config, VOCABULARY).train()
    module_inputs: dict[str, tuple[Tensor, ...]] = {}
    upper_cell = "upper.cells.0" if wiring in ("gnmt", "conditional") else "stack.cells.1"
    for name in ("encoder.layers.1.forward_cell", f"decoder.wiring.{upper_cell}", "decoder.readout"):

        def record(_: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
            module_inputs[name.split(".")[1]] = inputs

        model.get_submodule(name).register_forward_pre_hook(record)
    rows = 40
    src, lengths, tgt = (x[:1].expand(rows, *x.shape[1:]) for x in (SRC, LENGTHS, TGT))
    parts = {"readout": model(src, lengths, tgt)}
    outputs, context, inputs = module_inputs["readout"]
    parts |= {"encoder, lower layer": module_inputs["layers"][0], "decoder, upper layer": outputs, "context": context}
    parts["decoder, lower layer"] = module_inputs["wiring"][0][:, :, : config.decoder.hidden]
    if wiring != "luong":
        parts["context in the upper layer's input"] = module_inputs["wiring"][0][:, :, config.decoder.hidden :]
    if feeding:
        parts["readout in the next input"] = inputs[:, :, -config.embedding :]
    parts["encoder, upper layer"] = model.encoder(model.embed_source(src), lengths)[0]
    for name, values in parts.items():
        dropped = values[:, -1] == 0
        share = 0.75 if name.startswith("context") else 0.5  # dropped in the encoder's states, and again in the context
        assert dropped.double().mean().item() == pytest.approx(share, abs=0.1), name
        assert dropped.unique(dim=0).size(0) > 10, name
    lower, upper = parts["decoder, lower layer"], parts["decoder, upper layer"]
    assert not lower.eq(0).equal(upper.eq(0)), "layers must not share a mask"


def test_flip_reverses_each_sentence_within_its_length() -> None:
    assert flip_index(torch.tensor([4, 2, 1]), 4).tolist() == [[3, 2, 1, 0], [1, 0, 2, 3], [0, 1, 2, 3]]
