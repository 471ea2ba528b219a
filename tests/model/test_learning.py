"""Members of the family learn toy tasks in seconds; their translations come from the real search.

Copying and reversing need attention: 20 random symbols do not fit into a fixed context of this size. Continuing the
alphabet needs none: the state holds the next letter, and a fixed context holds the last one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from nmt.config import ModelConfig
from nmt.model.seq2seq import Seq2Seq
from nmt.search.beam import BeamSearch
from nmt.search.engine import Engine, Request, SearchOptions
from nmt.text.special_ids import BOS, EOS, PAD
from nmt.training.loss import smoothed_cross_entropy
from tests.family import DEFAULTS, DROPOUTS, nested

FIRST = EOS + 1
SYMBOLS = 20
LETTERS = 26

Pair = tuple[list[int], list[int]]
"""source and target pieces, without EOS"""


class Task(NamedTuple):
    """A toy task: pairs to train on and pairs to test."""

    draw: Callable[[random.Random], list[Pair]]
    """draws a batch of training pairs"""
    unseen: list[Pair]
    """pairs that are never trained on"""
    vocabulary: int


def symbols(reverse: bool, longest: int, batch: int = 32) -> Task:
    """Copy or reverse up to `longest` random symbols; the unseen pairs have the full length."""

    def pair(draw: random.Random, length: int) -> Pair:
        src = draw.choices(range(FIRST, FIRST + SYMBOLS), k=length)
        return src, src[::-1] if reverse else src

    def some(draw: random.Random) -> list[Pair]:
        length = draw.randint(1, longest)  # similar lengths, for little padding
        return [pair(draw, draw.randint(max(1, length - 3), length)) for _ in range(batch)]

    draw = random.Random(99)
    return Task(some, [pair(draw, longest) for _ in range(20)], FIRST + SYMBOLS)


def alphabet(batch: int = 32) -> Task:
    """Continue the cyclic alphabet from a first to a last letter: y b -> y z a b. A tenth of the ranges is unseen."""

    def pair(first: int, last: int) -> Pair:
        letters = [first + i for i in range((last - first) % LETTERS + 1)]
        return [FIRST + first, FIRST + last], [FIRST + letter % LETTERS for letter in letters]

    pairs = [pair(first, last) for first in range(LETTERS) for last in range(LETTERS)]
    random.Random(99).shuffle(pairs)
    unseen, seen = pairs[:67], pairs[67:]
    return Task(lambda draw: draw.sample(seen, batch), unseen, FIRST + LETTERS)


def pad(rows: Sequence[Sequence[int]]) -> Tensor:
    """Pad the rows to a tensor (B, ·)."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])


def loss(model: Seq2Seq, pairs: Sequence[Pair]) -> Tensor:
    """Compute the mean negative log-likelihood of a target piece, EOS included, in nats."""
    srcs = [[*src, EOS] for src, _ in pairs]
    tgt_in, tgt_out = pad([[BOS, *tgt] for _, tgt in pairs]), pad([[*tgt, EOS] for _, tgt in pairs])
    readout, real = model(pad(srcs), torch.tensor([len(src) for src in srcs]), tgt_in), tgt_out != PAD
    weight, bias = model.output.weight, model.output.bias
    return smoothed_cross_entropy(readout[real], weight, bias, tgt_out[real], 0.0)[0] / real.sum()


def learn(choice: dict[str, Any], task: Task, steps: int, learning_rate: float = 1e-2) -> Seq2Seq:
    """Train a small member, with one layer per side unless `choice` sets more."""
    sizes = {"embedding": 32, "encoder.hidden": 32, "decoder.hidden": 64, "decoder.attention_size": 64}
    small = {"decoder.layers": 1, **dict.fromkeys(DROPOUTS, 0.0)}
    torch.manual_seed(1)
    model = Seq2Seq(ModelConfig.model_validate(nested({**DEFAULTS, **sizes, **small, **choice})), task.vocabulary)
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate, betas=(0.9, 0.98))
    draw = random.Random(1)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(1, (step + 1) / 50) * (1 - step / steps)
        optimiser.zero_grad()
        loss(model, task.draw(draw)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    return model.eval()


@torch.inference_mode()
def perplexity(model: Seq2Seq, task: Task) -> float:
    """Compute the perplexity on the unseen pairs; 1 is certainty."""
    return math.exp(loss(model, task.unseen).item())


def translate(model: Seq2Seq, task: Task, beam: int = 1) -> list[list[int]]:
    """Translate the unseen sources by the search."""
    options = SearchOptions(beam=beam, max_length_extra=LETTERS + 5)
    results = Engine(BeamSearch(model)).run(Request(i, (*src, EOS), options) for i, (src, _) in enumerate(task.unseen))
    return [result.hypotheses[0].ids for result in results]


def accuracy(found: list[list[int]], task: Task) -> float:
    """Compute the mean similarity, 0 to 1, of translations and references.

    Similarity is 2 * m / n for m matching pieces, in order, among the n pieces of both (difflib).
    """
    pairs = zip(found, task.unseen, strict=True)
    ratios = [SequenceMatcher(None, one, tgt, autojunk=False).ratio() for one, (_, tgt) in pairs]
    return sum(ratios) / len(ratios)


GRU = {"encoder.cell": "gru", "decoder.cell": "gru"}
RNN = {"encoder.cell": "rnn", "decoder.cell": "rnn"}
LUONG = {"decoder.wiring": "luong", "decoder.attention": "luong_dot"}
GENERAL = {**LUONG, "decoder.attention": "luong_general"}
FED = {"decoder.input_feeding": True}
HEADS = {"decoder.heads": 2}
DEEP = {"encoder.layers": 2, "decoder.layers": 2, "encoder.connections": "highway", "decoder.connections": "dense"}
slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("reverse", "steps", "choice"),
    [
        pytest.param(False, 500, {}, id="copy-default"),
        pytest.param(True, 600, {**GRU, "decoder.wiring": "bahdanau"}, id="reverse-gru-bahdanau"),
        pytest.param(False, 600, LUONG, id="copy-luong_dot"),
        pytest.param(True, 800, {}, id="reverse-default", marks=slow),
        pytest.param(False, 1000, GENERAL, id="copy-luong_general", marks=slow),
        pytest.param(True, 800, {**GENERAL, **GRU}, id="reverse-luong_general-gru", marks=slow),
        pytest.param(True, 1600, {**LUONG, "decoder.input_feeding": True}, id="reverse-luong-fed", marks=slow),
        pytest.param(False, 1000, {**GRU, "decoder.wiring": "bahdanau"}, id="copy-gru-bahdanau", marks=slow),
        pytest.param(True, 800, {**HEADS, "decoder.wiring": "conditional"}, id="reverse-conditional-heads", marks=slow),
        pytest.param(
            True, 800, {"reverse_source": True, "cell_norm": True}, id="reverse-norm-read_reversed", marks=slow
        ),
        pytest.param(False, 800, {**HEADS, **DEEP}, id="copy-two_layers-heads", marks=slow),
    ],
)
def test_twenty_symbols(reverse: bool, steps: int, choice: dict[str, Any]) -> None:
    task = symbols(reverse, longest=20)
    model = learn(choice, task, steps)
    assert perplexity(model, task) < 1.2
    assert accuracy(translate(model, task), task) >= 0.95
    assert accuracy(translate(model, task, beam=3), task) >= 0.95


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param(RNN, id="rnn"),
        pytest.param({}, id="lstm"),
        pytest.param(GRU, id="gru"),
        pytest.param({**GRU, "decoder.wiring": "bahdanau", "reverse_source": True}, id="gru-bahdanau", marks=slow),
        pytest.param({**FED, "decoder.wiring": "conditional"}, id="lstm-fed", marks=slow),
    ],
)
def test_the_next_letter_with_a_fixed_context(choice: dict[str, Any]) -> None:
    task = alphabet()
    model = learn({**choice, "decoder.attention": "none"}, task, steps=400)
    assert perplexity(model, task) < 1.1
    assert accuracy(translate(model, task), task) >= 0.95


@pytest.mark.parametrize(
    "choice", [RNN, pytest.param(GRU, marks=slow), pytest.param({}, marks=slow)], ids=["rnn", "gru", "lstm"]
)
def test_the_next_letter_with_the_context_at_the_start_only(choice: dict[str, Any]) -> None:
    """The letters and their order are right; where to end is forgotten on the way, sooner without gates."""
    task = alphabet()
    model = learn({**choice, "decoder.attention": "none", "decoder.context": "start"}, task, steps=250)
    assert perplexity(model, task) < 1.5
    for found, (_, tgt) in zip(translate(model, task), task.unseen, strict=True):
        both = min(len(found), len(tgt))
        assert found[:both] == tgt[:both]
