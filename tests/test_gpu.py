"""On a CUDA device: graphs change nothing, no batch does, and neither decoding nor training waits for the device.

python -m pytest -m gpu
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from nmt.artifact import load_bytes, pack
from nmt.corpus.batching import Batch
from nmt.export import convert, describe, script
from nmt.model.seq2seq import Seq2Seq
from nmt.search.engine import Engine, Request, Result, SearchOptions
from nmt.search.graphed import GraphedBatch, GraphedBatches, GraphOptions, Graphs
from nmt.text.special_ids import EOS
from nmt.training.loss import batch_loss
from nmt.training.optim import WeightAverage, make_optimizer, update
from tests.copy_model import CopyRun, tokenizer
from tests.family import DEFAULTS, OPTIONS, Choice, covering_array, each_value, member, name, seeded

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

CUDA = torch.device("cuda")
FEW = each_value(covering_array())
"""members in which every value of every option occurs"""
ROWS = 24
SMALL = GraphOptions(buckets=(4, 8, 16), max_length=24)
TOLERANCE = {"float32": 2e-3, "bfloat16": 0.1, "float16": 0.02, "int8": 2e-3}
"""of log-probabilities: products of other shapes take other kernels, which round differently"""


def peaked(choice: Choice, vocabulary: int) -> Seq2Seq:
    """A member with so clear preferences that rounding does not decide what it says."""
    model = seeded(member(choice), vocabulary)
    model.output.bias.data += 2 * torch.randn(vocabulary)
    model.output.weight.data *= 3
    return model


def exported(choice: Choice, dtype: str) -> Any:
    """A member on the device, as loaded from a file."""
    run = CopyRun(model=peaked(choice, tokenizer().vocabulary))
    content = pack(script(convert(run.model, dtype)), run.tokenizer, describe(run, dtype))
    return load_bytes(content, "x", CUDA).search


def requests(count: int, seed: int = 0, **options: Any) -> list[Request]:
    """Requests with sources of all buckets, and some that are longer."""
    draw = random.Random(seed)
    lengths = (0, 1, 2, 3, 5, 7, 12, 15, 20)
    sources = [(*draw.choices(range(4, tokenizer().vocabulary), k=draw.choice(lengths)), EOS) for _ in range(count)]
    return [Request(i, src, SearchOptions(**{"beam": 3, "n_best": 2, **options})) for i, src in enumerate(sources)]


def assert_same(found: list[Result], expected: list[Result], tolerance: float) -> None:
    """The best hypothesis has the same pieces in nearly all results, and then close scores and attention."""
    assert [result.error for result in found] == [None] * len(expected)
    same = 0
    for one, other in zip(found, expected, strict=True):
        a, b = one.hypotheses[0], other.hypotheses[0]
        if a.ids == b.ids and a.complete == b.complete:
            same += 1
            assert a.token_log_probs == pytest.approx(b.token_log_probs, abs=tolerance)
            torch.testing.assert_close(a.attention, b.attention, atol=tolerance, rtol=0)
    assert same >= 0.98 * len(expected)


@contextmanager
def no_waits() -> Iterator[None]:
    """Make every wait of the host for the device an error, except for those of events."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("options", [SMALL, GraphOptions(SMALL.buckets, 24, 4, 2)], ids=["2 steps", "4 steps, later"])
def test_graphs_change_nothing(dtype: str, options: GraphOptions) -> None:
    search = exported(DEFAULTS, dtype)
    some, batches = requests(200), GraphedBatches(ROWS, options)
    found = Engine(search, rows=ROWS, device=CUDA, graphs=batches).run(some)
    (batch,) = batches._batches.values()
    assert set(batch._captured) == set(options.buckets)
    assert None not in batch._captured.values()
    plain = GraphOptions(options.buckets, options.max_length, options.steps, options.late, graphs=False)
    without = Engine(search, rows=ROWS, device=CUDA, graphs=GraphedBatches(ROWS, plain)).run(some)
    for one, other in zip(found, without, strict=True):  # the same kernels on the same shapes
        assert [h.ids for h in one.hypotheses] == [h.ids for h in other.hypotheses]
    assert_same(found, Engine(search, device=CUDA, graphs=False).run(some), TOLERANCE[dtype])


@pytest.mark.parametrize("choice", FEW, ids=name)
def test_members_of_the_family(choice: Choice) -> None:
    search = exported(choice, "float32")
    some = requests(60)
    found = Engine(search, rows=ROWS, device=CUDA, graphs=GraphedBatches(ROWS, SMALL)).run(some)
    assert_same(found, Engine(search, device=CUDA, graphs=False).run(some), TOLERANCE["float32"])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_translation_is_the_same_alone_and_in_company(dtype: str) -> None:
    """Promise 1, of nmt/search/graphed.py as used by default."""
    search, some = exported(DEFAULTS, dtype), requests(40)
    engine = Engine(search, device=CUDA)
    together = engine.run(some)
    assert_same([engine.run([request])[0] for request in some], together, TOLERANCE[dtype])


def test_decoding_does_not_wait_for_the_device() -> None:
    """Joining, rounds with and without a graph, collecting; only an event of the round before is waited for."""
    search = exported(DEFAULTS, "bfloat16")
    batch = GraphedBatch(search, 3, CUDA, 8, SMALL, Graphs(CUDA))
    some = [Request(i, (*[4] * 6, EOS), SearchOptions(beam=3, max_length=20)) for i in range(60)]
    with torch.inference_mode():
        batch.admit(some[:4])
        for _ in range(6):  # warms up and captures: that may wait
            batch.advance()
        with no_waits():
            batch.admit(some[4:6])
            results = [result for _ in range(20) for result in batch.advance()]
    assert {result.key for result in results} >= {4, 5}
    assert not [result.error for result in results if result.error]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("choice", FEW, ids=name)
def test_training_does_not_wait_for_the_device(choice: Choice, precision: torch.dtype) -> None:
    """A step as in nmt/train.py; its loss is that of the CPU."""
    torch.manual_seed(0)
    model = Seq2Seq(member(choice), 13).train()
    batch = Batch.from_ids([[5, 6, 7], [8]], [[5, 6], [9, 9, 9]])
    expected = float(batch_loss(model, batch, 0.1, torch.float32)[0].detach())
    model.to(CUDA)
    optimizer, average = make_optimizer(model, 1e-3, 0.01, (0.9, 0.98)), WeightAverage(model, 0.9)

    def step() -> torch.Tensor:
        there = batch.to(CUDA)
        loss, _ = batch_loss(model, there, 0.1, precision)
        (loss / there.target_tokens).backward()
        update(model, optimizer, average, 1.0)
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    first = step()
    with no_waits():
        losses = [step() for _ in range(5)]
    assert float(first) == pytest.approx(expected, rel=1e-3 if precision == torch.float32 else 0.05)
    assert float(losses[-1]) < float(first)


def test_an_update_with_a_gradient_that_is_not_finite_is_skipped() -> None:
    model = nn.Linear(3, 4).to(CUDA)
    optimizer, average = make_optimizer(model, 1e-3, 0.5, (0.9, 0.98)), WeightAverage(model, 0.9)
    for norm in (float("inf"), float("nan"), 1.0):
        before = [parameter.detach().clone() for parameter in model.parameters()]
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, norm)
        update(model, optimizer, average, 1.0)
        assert (norm == 1.0) != all(map(torch.equal, before, model.parameters()))


def test_fused_kernels_are_used() -> None:
    """cuDNN runs over whole sequences of each cell without a norm of its own; the others are loops over `step`."""
    for cell in OPTIONS["encoder.cell"]:
        model = Seq2Seq(member({**DEFAULTS, "encoder.cell": cell, "decoder.cell": cell}), 13).to(CUDA).train()
        batch = Batch.from_ids([[5, 6, 7], [8]], [[5, 6], [9, 9, 9]]).to(CUDA)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            batch_loss(model, batch, 0.1, torch.bfloat16)
        assert "aten::_cudnn_rnn" in {event.key for event in profile.key_averages()}
