"""The engine: each request gets the result that it has alone, and none is lost or left waiting."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from nmt.errors import SearchError
from nmt.search.beam import BeamSearch
from nmt.search.engine import Engine, Request, Result, SearchOptions
from nmt.search.interface import Memory
from nmt.search.running_batch import append
from nmt.text.special_ids import EOS
from tests.toy_model import ToyModel

POISON, BOMB = 11, 10
"""source pieces with which `FailingModel` fails in `encode`, or in a step"""


class FailingModel(ToyModel):
    """A model that fails to encode POISON, and in the third step after it encoded BOMB; it never emits EOS."""

    def __init__(self) -> None:
        super().__init__(eos_bias=-50.0)
        self.steps = 0
        self.encoded: list[tuple[int, ...]] = []

    def encode(self, src: Tensor, lengths: Tensor) -> tuple[Memory, list[Tensor]]:
        self.encoded.append(tuple(src.shape))
        if (src == POISON).any():
            raise RuntimeError("poison")
        memory, state = super().encode(src, lengths)
        armed = (src == BOMB).any(dim=1, keepdim=True).float()
        return memory, [*state, 3 * armed]  # counts down to the failing step

    def step(self, tokens: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        if (state[2] == 1).any():
            raise RuntimeError("bomb")
        logits, next_state, attention = super().step(tokens, state[:2], memory)
        return logits, [*next_state, state[2] - 1], attention


def some_requests(count: int, seed: int = 0, longest: int = 12, **options: int | float) -> list[Request]:
    """Return requests with random sources of up to `longest` pieces and EOS."""
    draw = random.Random(seed)
    return [
        Request(i, (*draw.choices(range(4, 9), k=draw.randint(0, longest)), EOS), SearchOptions(**options))  # type: ignore[arg-type]
        for i in range(count)
    ]


def alone(search: BeamSearch, request: Request) -> Result:
    """Return the result of a request in an engine of its own."""
    return Engine(search, rows=1).run([request])[0]


def assert_same(one: Result, other: Result) -> None:
    """Assert the same pieces; scores and attention within 1e-4."""
    assert one.key == other.key
    assert one.error is None
    assert other.error is None
    assert len(one.hypotheses) == len(other.hypotheses)
    for a, b in zip(one.hypotheses, other.hypotheses, strict=True):
        assert (a.ids, a.complete) == (b.ids, b.complete)
        assert a.score == pytest.approx(b.score, abs=1e-4)
        assert a.token_log_probs == pytest.approx(b.token_log_probs, abs=1e-4)
        assert a.attention.shape == b.attention.shape
        assert torch.allclose(a.attention, b.attention, atol=1e-4)


def drain(engine: Engine, steps: int = 1000) -> dict[object, Result]:
    """Step until all requests have finished; return their results by key."""
    results: dict[object, Result] = {}
    for _ in range(steps):
        left = engine.step()
        for result in engine.finished():
            assert result.key not in results
            results[result.key] = result
        if not left:
            assert (engine.active, engine.waiting) == (0, 0)
            return results
    raise AssertionError("the engine does not finish its requests")


@pytest.mark.parametrize("beam", [1, 4])
def test_result_is_the_same_alone_in_a_batch_and_while_others_join_and_leave(beam: int) -> None:
    search = BeamSearch(ToyModel(vocabulary=9, seed=7))
    requests = some_requests(64, beam=beam, n_best=beam, max_length=14)
    expected = [alone(search, request) for request in requests]
    for slots in (64, 5):
        for one, other in zip(Engine(search, rows=slots * beam).run(requests), expected, strict=True):
            assert_same(one, other)
    engine, results = Engine(search, rows=8 * beam), {}
    for request in requests:  # one joins at each step, while others leave
        engine.add(request)
        engine.step()
        results.update({result.key: result for result in engine.finished()})
    results.update(drain(engine))
    for other in expected:
        assert_same(results[other.key], other)


def test_requests_with_unlike_options_share_a_batch() -> None:
    search = BeamSearch(ToyModel(vocabulary=9, seed=7))
    sources = [request.src for request in some_requests(40, seed=3)]
    several = [
        SearchOptions(beam=3, n_best=3),
        SearchOptions(beam=3, length_penalty=0.0, max_length=5),
        SearchOptions(beam=3, no_repeat_ngram=2, max_length_extra=20),
        SearchOptions(beam=3, min_length=6, allow_unknown=False, length_penalty=2.0),
        SearchOptions(beam=1),
    ]
    requests = [
        Request(i, src, several[i % 5], prefix=(5, 7)[: i % 3]) for i, src in enumerate(sources) if len(src) > 0
    ]
    for result, request in zip(Engine(search, rows=18).run(requests), requests, strict=True):
        assert_same(result, alone(search, request))


def test_stale_slots_do_not_matter() -> None:
    """Long sentences leave old values in the buffers, which one sentence that never finishes keeps alive."""
    search = BeamSearch(ToyModel(vocabulary=9, seed=1, eos_bias=-3.0))
    engine = Engine(search, rows=8)
    stays = Request("stays", (4, EOS), SearchOptions(beam=2, max_length_extra=80))
    engine.add(stays)
    engine.step()
    results: dict[object, Result] = {}
    requests = [
        Request(i, (*([5, 6, 7, 8] * 10)[:size], EOS), SearchOptions(beam=2, max_length=6))
        for i, size in enumerate([40, 39, 38, 1, 2, 0, 17, 3, 40, 1])
    ]
    for request in requests:
        engine.add(request)
        engine.step()
        engine.step()
        results.update({result.key: result for result in engine.finished()})
    results.update(drain(engine))
    for request in [stays, *requests]:
        assert_same(results[request.key], alone(search, request))


def test_append_clears_what_it_does_not_fill() -> None:
    buffer = torch.full((4, 3), float("nan"))
    buffer[:2] = 1.0
    appended = append(2, buffer, torch.tensor([[5.0], [6.0]]))
    assert appended.data_ptr() == buffer.data_ptr()
    assert appended.tolist() == [[1, 1, 1], [1, 1, 1], [5, 0, 0], [6, 0, 0]]
    larger = append(1, buffer[:2], torch.tensor([[5.0] * 4]))
    assert larger.size(1) >= 4
    assert larger[:2, :4].tolist() == [[1, 1, 1, 0], [5, 5, 5, 5]]


def test_run_keeps_the_order_and_reports_progress() -> None:
    requests = some_requests(50, beam=2)
    finished: list[int] = []
    results = Engine(BeamSearch(ToyModel()), rows=8).run(requests, finished.append)
    assert [result.key for result in results] == list(range(50))
    assert sum(finished) == 50
    assert Engine(BeamSearch(ToyModel())).run([]) == []


def test_run_leaves_other_requests_alone() -> None:
    engine = Engine(BeamSearch(ToyModel()), rows=20)
    for request in some_requests(6):
        engine.add(request)
    engine.step()
    own = [Request(("run", i), (4, EOS)) for i in range(3)]
    finished: list[int] = []
    assert [result.key for result in engine.run(own, finished.append)] == [request.key for request in own]
    assert sum(finished) == 3  # progress counts the requests of this run only
    assert {result.key for result in engine.finished()} | set(drain(engine)) == set(range(6))


def test_run_does_not_return_an_older_result_of_the_same_key() -> None:
    engine = Engine(BeamSearch(ToyModel()))
    engine.add(Request("a", (4, EOS), SearchOptions(beam=1)))
    while engine.step():
        pass
    (result,) = engine.run([Request("a", (5, 6, 4, EOS), SearchOptions(beam=1))])
    assert result.hypotheses[0].attention.size(1) == 4
    (older,) = engine.finished()
    assert older.hypotheses[0].attention.size(1) == 2


def test_same_key_twice_is_refused_until_the_first_has_finished() -> None:
    engine = Engine(BeamSearch(ToyModel()))
    engine.add(Request("a", (4, EOS)))
    with pytest.raises(SearchError, match="'a' is in the engine already"):
        engine.add(Request("a", (5, EOS)))
    drain(engine)
    engine.add(Request("a", (5, EOS)))
    with pytest.raises(SearchError, match="'b' is in the engine already"):
        engine.run([Request("b", (5, EOS)), Request("b", (5, EOS))])
    assert engine.waiting == 1  # the failed run took back what it had added
    assert set(drain(engine)) == {"a"}


@pytest.mark.parametrize("place", [0, 3, 7])
def test_cancelled_while_active(place: int) -> None:
    search = BeamSearch(ToyModel(eos_bias=-3.0))
    engine, requests = Engine(search, rows=16), some_requests(8, beam=2)
    for request in requests:
        engine.add(request)
    engine.step()
    results = {result.key: result for result in engine.finished()}
    active = engine.active
    assert engine.cancel(place) == 1
    assert engine.active == active - 1
    assert engine.cancel(place) == 0
    engine.add(Request(place, (6, 6, EOS), SearchOptions(beam=2)))  # the key and the slot are free
    results.update(drain(engine))
    for request in requests:
        if request.key != place:
            assert_same(results[request.key], alone(search, request))
    assert_same(results[place], alone(search, Request(place, (6, 6, EOS), SearchOptions(beam=2))))


def test_cancelled_while_waiting() -> None:
    engine = Engine(BeamSearch(ToyModel(eos_bias=-50.0)), rows=5)
    for request in some_requests(3):
        engine.add(request)
    engine.step()
    assert (engine.active, engine.waiting) == (1, 2)
    assert engine.cancel(0, 1, 2, "unknown") == 3
    assert drain(engine) == {}


def test_a_failed_encoding_fails_only_its_own_request() -> None:
    engine = Engine(BeamSearch(FailingModel()))
    engine.add(Request("good", (4, 5, EOS)))
    engine.add(Request("bad", (4, POISON, EOS)))
    results = drain(engine)
    assert str(results["bad"].error) == "poison"
    assert results["bad"].hypotheses == []
    assert results["good"].error is None


def test_a_failed_step_fails_the_whole_batch() -> None:
    engine = Engine(BeamSearch(FailingModel()), rows=4)
    keys = ["before", "bomb", "waiting", "later"]
    for key in keys:
        engine.add(Request(key, (BOMB if key == "bomb" else 4, EOS), SearchOptions(beam=2)))
    engine.add(Request("other batch", (4, EOS), SearchOptions(beam=3)))
    results = drain(engine)
    assert set(results) == {*keys, "other batch"}
    assert {key for key, result in results.items() if result.error is not None} == {"before", "bomb"}
    assert drain(engine) == {}
    assert engine.run([Request("again", (4, EOS))])[0].error is None  # the engine remains usable


def test_a_score_that_is_not_a_number_is_an_error() -> None:
    model = ToyModel()
    model.output.bias.data.fill_(float("nan"))
    (result,) = Engine(BeamSearch(model)).run([Request(0, (4, EOS))])
    assert "not a number" in str(result.error)


def test_an_interrupted_run_leaves_no_requests() -> None:
    engine = Engine(BeamSearch(ToyModel()), rows=10)

    def interrupt(finished: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.run(some_requests(20), interrupt)
    assert (engine.active, engine.waiting, engine.finished()) == (0, 0, [])
    assert engine.run(some_requests(2))[0].error is None


def test_encoder_work_between_two_steps_is_limited() -> None:
    model = FailingModel()
    engine = Engine(BeamSearch(model), encode_tokens=40)
    for request in some_requests(64, longest=9):
        engine.add(request)
    for _ in range(4):
        engine.step()
    assert len(model.encoded) == 4
    assert all(rows * width <= 40 for rows, width in model.encoded)
    long = Request("long", (4,) * 60 + (EOS,))
    assert engine.run([long])[0].error is None  # longer than the limit: encoded alone


def test_a_short_queue_joins_at_once_and_a_long_one_in_groups() -> None:
    engine = Engine(BeamSearch(FailingModel()), rows=8)  # hypotheses end at their maximum length only

    def add(*limits: int) -> None:
        for limit in limits:
            engine.add(Request(object(), (4, EOS), SearchOptions(beam=1, max_length=limit)))

    add(1, 2, 4, 9, 9, 9, 9, 9)
    engine.step()
    assert (engine.active, engine.waiting) == (7, 0)
    add(9, 9, 9)
    waiting = []
    for _ in range(4):  # free slots: one is too few for three; two are a quarter; none; one, and one waits
        engine.step()
        waiting.append(engine.waiting)
    assert waiting == [3, 1, 1, 0]


def test_the_oldest_request_is_never_overtaken() -> None:
    """Sources of similar length join together with the oldest, which is always among them."""
    engine = Engine(BeamSearch(FailingModel()), rows=4, encode_tokens=12)
    for key, length in enumerate([1, 9, 9, 1, 1, 9]):
        engine.add(Request(key, (4,) * length + (EOS,), SearchOptions(beam=1, max_length=1)))
    order: list[object] = []
    while engine.waiting:
        engine.step()
        order.append({result.key for result in engine.finished()})
    # A limit of 12 pieces admits one source of 10. Key 3 is as long as 0; then 1 is the oldest, though 4 is shorter.
    assert order == [{0, 3}, {1}, {2}, {4}, {5}]


def test_rows_are_a_bound_over_all_beams_and_lengths() -> None:
    engine = Engine(BeamSearch(FailingModel()), rows=20)
    for i in range(60):
        options = SearchOptions(beam=(1, 4, 7)[i % 3], max_length=1 + i % 5)
        engine.add(Request(i, (*[4] * (i * 7 % 90), EOS), options))
    found: list[object] = []
    most = 0
    while engine.step() or engine.waiting:
        rows = sum(batch.beam * len(batch.active) for batch in engine._batches.values())
        most = max(most, rows)
        assert rows <= 20
        found += [result.key for result in engine.finished()]
    found += [result.key for result in engine.finished()]
    assert sorted(found) == list(range(60))  # type: ignore[type-var]
    assert most > 12
    assert engine.run([Request("wide", (4, EOS), SearchOptions(beam=30))])[0].error is None  # alone it may be wider


def test_greedy_search_decodes_as_many_sentences_as_there_are_rows() -> None:
    engine = Engine(BeamSearch(FailingModel()), rows=12)
    for key in range(12):
        engine.add(Request(key, (4, EOS), SearchOptions(beam=1)))
    engine.step()
    assert (engine.active, engine.load) == (12, 12)


def test_narrow_beams_do_not_hold_up_a_wide_one() -> None:
    engine = Engine(BeamSearch(FailingModel()), rows=8)
    for i in range(8):
        engine.add(Request(i, (4, EOS), SearchOptions(beam=1, max_length=2 + i)))
    engine.step()
    engine.add(Request("wide", (4, EOS), SearchOptions(beam=8, max_length=1)))
    for i in range(8, 100):  # a greedy one comes at each step
        engine.add(Request(i, (4, EOS), SearchOptions(beam=1, max_length=3)))
        engine.step()
        if "wide" in {result.key for result in engine.finished()}:
            break
    assert i < 20


def test_the_memory_of_a_step_has_few_widths() -> None:
    """Each shape of a product may cost memory for ever."""
    widths: set[int] = set()

    class Model(ToyModel):
        def step(self, tokens: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
            widths.add(memory.mask.size(1))
            return super().step(tokens, state, memory)

    engine = Engine(BeamSearch(Model(vocabulary=9, seed=7, eos_bias=-3.0)))
    engine.add(Request("wide", (*[5] * 31, EOS), SearchOptions(max_length=2)))
    for i, length in enumerate(range(30, 0, -1)):
        engine.add(Request(i, (*[5] * length, EOS), SearchOptions(max_length=4)))
        engine.step()
    assert widths == {8, 16, 24, 32}


def test_a_long_sentence_does_not_widen_the_memory_of_short_ones() -> None:
    widths: list[int] = []

    class Model(ToyModel):
        def step(self, tokens: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
            widths.append(memory.mask.size(1))
            return super().step(tokens, state, memory)

    requests = [*some_requests(8, beam=2), Request("long", (*[5, 6] * 50, EOS), SearchOptions(beam=2, max_length=12))]
    search = BeamSearch(Model(vocabulary=9, seed=7, eos_bias=-3.0))
    together = Engine(search).run(requests)
    assert {width > 13 for width in widths} == {True, False}
    assert not {width for width in widths if 13 < width < 101}
    for result, request in zip(together, requests, strict=True):
        assert_same(result, alone(search, request))


def test_single_arrivals_wait_for_each_other_while_many_are_decoded() -> None:
    engine = Engine(BeamSearch(FailingModel()), rows=64)

    def add(count: int) -> None:
        for _ in range(count):
            engine.add(Request(object(), (4, EOS), SearchOptions(beam=1, max_length=30)))

    def steps(count: int) -> list[int]:
        active = []
        for _ in range(count):
            engine.step()
            active.append(engine.active)
        return active

    add(32)
    assert steps(1) == [32]
    add(1)
    assert steps(5) == [32, 32, 32, 32, 33]  # four steps at most
    add(8)
    assert steps(1) == [41]  # a quarter of those that are decoded do not wait


def test_memory_of_a_long_sentence_is_freed() -> None:
    engine = Engine(BeamSearch(ToyModel()))
    few_steps = SearchOptions(max_length=5)  # it is the source that takes the memory
    engine.run([Request(0, (4,) * 300 + (EOS,), few_steps)])
    assert not engine._batches
    assert not engine._queues
    engine.add(Request(1, (4,) * 300 + (EOS,), few_steps))
    engine.step()
    engine.cancel(1)  # the owner of an empty engine need not step it again
    assert not engine._batches
    assert not engine._queues


@pytest.mark.parametrize("size", [{"rows": 0}, {"encode_tokens": 0}])
def test_sizes_out_of_range(size: dict[str, int]) -> None:
    with pytest.raises(SearchError, match="must be at least 1"):
        Engine(BeamSearch(ToyModel()), **size)  # type: ignore[arg-type]
