"""The graphed batch without its graphs, on a CPU: the results of the plain running batch, and no wait for a device."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from nmt.artifact import load_bytes, pack
from nmt.export import convert, describe, script
from nmt.model.seq2seq import Seq2Seq
from nmt.search.beam import BeamSearch
from nmt.search.engine import Engine, Request, Result, SearchOptions
from nmt.search.graphed import GraphedBatch, GraphedBatches, GraphOptions, Graphs, put_rows
from nmt.text.special_ids import EOS
from tests.copy_model import CopyModel, CopyRun, tokenizer
from tests.family import DEFAULTS, Choice, covering_array, member, name, seeded
from tests.search.test_engine import BOMB, POISON, FailingModel, alone, assert_same, drain
from tests.toy_model import ToyModel

SMALL = GraphOptions(buckets=(4, 8, 16), max_length=24)
"""so small that requests of all buckets, and some that do not fit, come up"""
SEVERAL = [
    SearchOptions(beam=3, n_best=3),
    SearchOptions(beam=3, length_penalty=0.0, max_length=5),
    SearchOptions(beam=3, min_length=6, allow_unknown=False, length_penalty=2.0),
    SearchOptions(beam=3, no_repeat_ngram=2, max_length_extra=20),
    SearchOptions(beam=1),
    SearchOptions(beam=4, n_best=2, max_length=1),
]


def graphed(search: Any, rows: int, options: GraphOptions = SMALL) -> Engine:
    """An engine that decodes as on a GPU."""
    return Engine(search, rows=rows, graphs=GraphedBatches(rows, options))


def mixed_requests(count: int, seed: int, vocabulary: int = 9) -> list[Request]:
    """Requests of all kinds: short and long, with and without limits, prefixes and n-best."""
    draw = random.Random(seed)
    requests = []
    for i in range(count):
        src = (*draw.choices(range(4, vocabulary), k=draw.choice([0, 1, 2, 3, 5, 7, 12, 15, 20])), EOS)
        options = draw.choice(SEVERAL)
        prefix = (5, 7) if draw.random() < 0.2 and options.limit(len(src)) > 2 else ()
        requests.append(Request(i, src, options, prefix))
    return requests


def decode(engine: Engine, requests: list[Request], seed: int, cancelled: set[int]) -> dict[object, Result]:
    """Let requests join at random times, cancel some of them a few steps later, and return the results."""
    draw, results, waiting = random.Random(seed), {}, list(requests)
    doomed: list[object] = []
    while waiting:
        for request in [waiting.pop(0) for _ in range(min(len(waiting), draw.randint(0, 4)))]:
            engine.add(request)
            doomed += [request.key] if request.key in cancelled else []
        engine.step()
        if doomed and draw.random() < 0.5:
            engine.cancel(doomed.pop(0))
        results.update({result.key: result for result in engine.finished()})
    engine.cancel(*doomed)
    return results | drain(engine)


@pytest.mark.parametrize("late", [0, 1, 2])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_results_are_those_of_the_plain_batch(steps: int, late: int) -> None:
    """Requests join, leave, are cancelled, and take over slots that longer ones have left."""
    search = BeamSearch(ToyModel(vocabulary=9, seed=steps))
    requests = mixed_requests(40, seed=late)
    expected, cancelled = Engine(search).run(requests), set(range(3, 40, 7))
    options = GraphOptions(SMALL.buckets, SMALL.max_length, steps, late)
    results = decode(graphed(search, 15, options), requests, steps, cancelled)
    assert results.keys() >= {request.key for request in requests} - cancelled
    for result in expected:
        if result.key in results:
            assert_same(results[result.key], result)


def bits(result: Result) -> list[Any]:
    """All numbers of a result."""
    return [
        (one.ids, one.score, one.token_log_probs, one.attention.tolist(), one.complete) for one in result.hypotheses
    ]


def test_results_are_equal_bit_for_bit() -> None:
    """With a model whose products have a single term, so that no sum depends on the size of the batch."""
    search = BeamSearch(CopyModel(12, sharpness=3.0))
    requests = mixed_requests(40, seed=1, vocabulary=12)
    found = graphed(search, 21).run(requests)
    assert [*map(bits, found)] == [*map(bits, Engine(search, rows=21).run(requests))]


def clear_preferences(choice: Choice, vocabulary: int) -> Any:
    """A member that prefers some pieces by so much that rounding does not decide."""
    model = seeded(member(choice), vocabulary)
    model.output.bias.data += 2 * torch.randn(vocabulary)
    model.output.weight.data *= 3
    return model


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_an_exported_search(dtype: str) -> None:
    run = CopyRun(model=clear_preferences(DEFAULTS, tokenizer().vocabulary))
    search = load_bytes(pack(script(convert(run.model, dtype)), run.tokenizer, describe(run, dtype)), "x").search
    requests = mixed_requests(40, seed=2, vocabulary=tokenizer().vocabulary)
    expected = Engine(search, rows=18).run(requests)
    for one, other in zip(graphed(search, 18).run(requests), expected, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("choice", covering_array()[::4], ids=name)
def test_members_of_the_family(choice: Choice) -> None:
    search, requests = BeamSearch(clear_preferences(choice, 13)), mixed_requests(12, seed=3)
    for one, other in zip(graphed(search, 12).run(requests), Engine(search, rows=12).run(requests), strict=True):
        assert_same(one, other)


def test_a_failed_encoding_fails_only_its_own_request() -> None:
    engine = graphed(BeamSearch(FailingModel()), 20)
    for key, src in {"good": (4, 5, EOS), "bad": (4, POISON, EOS), "long": (4,) * 20 + (EOS,)}.items():
        engine.add(Request(key, src))
    results = drain(engine)
    assert {key: str(result.error or "") for key, result in results.items()} == {
        "good": "",
        "bad": "poison",
        "long": "",
    }


def test_the_batch_is_usable_after_a_failed_step() -> None:
    search = BeamSearch(FailingModel())
    engine = graphed(search, 4)
    for key, piece in {"before": 4, "bomb": BOMB, "waiting": 4}.items():
        engine.add(Request(key, (piece, EOS), SearchOptions(beam=2)))
    results = drain(engine)
    assert {key for key, result in results.items() if result.error is not None} == {"before", "bomb"}
    (again,) = engine.run([Request("again", (4, EOS), SearchOptions(beam=2))])
    assert_same(again, alone(search, Request("again", (4, EOS), SearchOptions(beam=2))))


def test_the_batch_is_kept_for_the_next_sentences() -> None:
    """Its graphs take seconds to capture."""
    search = BeamSearch(ToyModel())
    batches = GraphedBatches(2, SMALL)
    first = batches(search, 3, torch.device("cpu"))
    assert batches(search, 3, torch.device("cpu")) is first
    assert batches(search, 2, torch.device("cpu")) is not first


def test_rows_are_cleared_after_their_end() -> None:
    buffer = put_rows(torch.tensor([2, 0]), torch.full((3, 3), float("nan")), torch.tensor([[5.0], [6.0]]))
    assert buffer[[2, 0]].tolist() == [[5, 0, 0], [6, 0, 0]]
    assert buffer[1].isnan().all()


@pytest.mark.parametrize("choice", covering_array()[::8], ids=name)
def test_joining_and_steps_never_wait_for_the_device(choice: Choice, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device, whose tensors have no values: an operation that needs one on the host raises an error."""
    monkeypatch.setattr("nmt.search.graphed.upload", lambda values, device: values.to("meta"))
    meta = torch.device("meta")
    with torch.inference_mode():
        with meta:
            search = BeamSearch(Seq2Seq(member(choice), 13).eval())
        batch = GraphedBatch(search, 3, meta, 4, SMALL, Graphs(meta))
        batch.admit([Request(i, (*[4] * i, EOS), SearchOptions(beam=3, n_best=2)) for i in range(3)])
        batch._advance_slots(8)
        batch.drop([1])
        assert all(tensor.is_meta for tensor in (*batch._history, batch._active, batch._slots.time))
        with pytest.raises((RuntimeError, NotImplementedError)):
            batch._active.tolist()
