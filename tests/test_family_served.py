"""Every member of the model family goes the whole way: searched, exported, and trained with an exact resume."""

from __future__ import annotations

import random
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt.artifact import load_bytes
from nmt.config import Config, make_config
from nmt.export import TOLERANCES, build
from nmt.model.seq2seq import Seq2Seq
from nmt.search.beam import BeamSearch
from nmt.search.engine import Engine, Hypothesis, Request, SearchOptions
from nmt.text.special_ids import BOS, EOS
from nmt.train import train
from nmt.training.checkpoint import load_checkpoint
from tests.copy_model import CopyRun, tokenizer
from tests.family import DEFAULTS, OPTIONS, Choice, covering_array, each_value, member, name, seeded
from tests.test_train import corpus, interrupt_at, options, same
from tests.toy_model import greedy

VOCABULARY = 13
FEW = each_value(covering_array())
"""members in which every value of every option occurs"""


def peaked(choice: Choice, vocabulary: int = VOCABULARY) -> Any:
    """A member with so clear preferences that rounding does not decide what it says."""
    model = seeded(member(choice), vocabulary)
    model.output.bias.data += 2 * torch.randn(vocabulary)
    model.output.weight.data *= 3
    return model


def sources(count: int, vocabulary: int = VOCABULARY) -> list[tuple[int, ...]]:
    """Sources of unlike lengths."""
    draw = random.Random(1)
    return [(*draw.choices(range(EOS + 1, vocabulary), k=(3 * i) % 7), EOS) for i in range(count)]


def search(model: Any, srcs: list[tuple[int, ...]], slots: int, **options: Any) -> list[list[Hypothesis]]:
    """The hypotheses of each source."""
    engine = Engine(model, rows=slots * options["beam"])
    results = engine.run(Request(i, src, SearchOptions(max_length=12, **options)) for i, src in enumerate(srcs))
    assert [result.error for result in results] == [None] * len(srcs)
    return [result.hypotheses for result in results]


def said(hypothesis: Hypothesis) -> list[int]:
    """Its pieces, EOS included where complete."""
    return [*hypothesis.ids, EOS] if hypothesis.complete else hypothesis.ids


def assert_same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]], atol: float = 1e-4) -> None:
    """The same pieces, probabilities and attention."""
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert (one.ids, one.complete) == (other.ids, other.complete)
        assert one.token_log_probs == pytest.approx(other.token_log_probs, abs=atol)
        torch.testing.assert_close(one.attention, other.attention, atol=atol, rtol=0)


@pytest.mark.parametrize("choice", covering_array(), ids=name)
def test_beam_one_is_greedy_and_a_batch_changes_nothing(choice: Choice) -> None:
    model, srcs = peaked(choice), sources(5)
    with torch.inference_mode():
        expected = [greedy(model, src, max_length=12)[:12] for src in srcs]
    found = search(BeamSearch(model), srcs, slots=3, beam=1)
    assert [said(one) for (one,) in found] == expected
    together = search(BeamSearch(model), srcs, slots=3, beam=3, n_best=3)
    assert_same(together, [search(BeamSearch(model), [src], slots=1, beam=3, n_best=3)[0] for src in srcs])
    with torch.inference_mode():
        for src, hypotheses in zip(srcs, together, strict=True):
            for one in hypotheses:  # what the search says of a hypothesis, teacher forcing says too
                readout = model(torch.tensor([src]), torch.tensor([len(src)]), torch.tensor([[BOS, *said(one)[:-1]]]))
                log_probs = model.output(readout)[0].log_softmax(1)[range(len(said(one))), said(one)]
                assert one.token_log_probs == pytest.approx(log_probs.tolist(), abs=1e-4)


def assert_exported(choice: Choice, dtype: str) -> None:
    """The file has the eager model's probabilities, and in float32 its n best translations too."""
    vocabulary = tokenizer().vocabulary
    if dtype != "float32":  # as initialised: noise and clear preferences widen the difference beyond what is allowed
        torch.manual_seed(1)
        _, _, parity = build(CopyRun(model=Seq2Seq(member(choice), vocabulary).eval()), dtype)
        assert parity.mean <= TOLERANCES[dtype].mean
        return
    run = CopyRun(model=peaked(choice, vocabulary))
    content, _, parity = build(run, dtype)
    assert parity.largest < 1e-4 and parity.same_greedy == 1.0
    srcs = sources(4, vocabulary)
    exported = load_bytes(content, "x").search
    found, expected = (search(model, srcs, slots=3, beam=3, n_best=2) for model in (exported, BeamSearch(run.model)))
    assert_same(found, expected)


@pytest.mark.parametrize("choice", FEW, ids=name)
def test_exported(choice: Choice) -> None:
    assert_exported(choice, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("choice", covering_array(), ids=name)
def test_exported_whole_array(choice: Choice, dtype: str) -> None:
    assert_exported(choice, dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_exported_in_other_types(dtype: str) -> None:
    """Each cell and each attention."""
    small = {**DEFAULTS, "encoder.layers": 1, "decoder.layers": 1}
    cells, attentions = OPTIONS["decoder.cell"], OPTIONS["decoder.attention"]
    for i in range(max(len(cells), len(attentions))):
        cell, attention = cells[i % len(cells)], attentions[i % len(attentions)]
        assert_exported({**small, "encoder.cell": cell, "decoder.cell": cell, "decoder.attention": attention}, dtype)


RESUMED = [
    {"decoder.input_feeding": True, "decoder.cell": "gru", "tying": "none", "decoder.wiring": "luong"},
    {"decoder.wiring": "conditional", "cell_norm": True, "encoder.layers": 2, "encoder.connections": "dense"},
    {"decoder.attention": "none", "encoder.cell": "rnn", "decoder.wiring": "bahdanau", "reverse_source": True},
]


def assert_resumed(folder: Path, choice: Choice) -> None:
    """A run that is stopped between two validations ends bit for bit like one that is not."""

    def config() -> Config:
        values: Any = options(folder)
        model = member({**DEFAULTS, **choice}, dropout=0.2, dropout_word=0.1, dropout_embedding=0.1)
        return make_config({**values, "model": model.model_dump(mode="json")})

    corpus(folder, pairs=60)
    train(config(), folder / "whole")
    for at in (3, 8):
        with pytest.raises(SystemExit):
            interrupt_at(at, config(), folder / "parts", resume=at > 3)
    train(config(), folder / "parts", resume=True)
    assert load_checkpoint(folder / "parts" / "last.pt")["progress"]["step"] == 12
    assert same(folder / "whole", folder / "parts")


@pytest.mark.parametrize("choice", RESUMED, ids=lambda choice: "-".join(map(str, choice.values())))
def test_resumed_exactly(tmp_path: Path, choice: Choice) -> None:
    assert_resumed(tmp_path, choice)


@pytest.mark.slow
@pytest.mark.parametrize("choice", covering_array(), ids=name)
def test_resumed_exactly_whole_array(tmp_path: Path, choice: Choice) -> None:
    assert_resumed(tmp_path, choice)
