"""Engines side by side: the results, order, progress, errors and interruption of one engine."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor

from nmt.errors import SearchError
from nmt.search import pool as pool_module
from nmt.search.beam import BeamSearch
from nmt.search.engine import Engine, Request, SearchOptions
from nmt.search.interface import Memory
from nmt.search.pool import EnginePool
from nmt.text.special_ids import EOS
from tests.search.test_engine import POISON, FailingModel, assert_same, some_requests
from tests.toy_model import ToyModel


class WatchedModel(ToyModel):
    """A model that notes by which threads it was run, and with how many threads each computes."""

    def __init__(self) -> None:
        super().__init__(vocabulary=9, seed=7)
        self.seen: dict[int, int] = {}
        self.meet = threading.Barrier(2)
        """where the first two threads wait for each other, so that neither translates everything alone"""

    def step(self, tokens: Tensor, state: list[Tensor], memory: Memory) -> tuple[Tensor, list[Tensor], Tensor]:
        if threading.get_ident() not in self.seen:
            self.seen[threading.get_ident()] = torch.get_num_threads()
            self.meet.wait(10)
        return super().step(tokens, state, memory)


@pytest.mark.parametrize("engines", [1, 2, 3])
def test_results_and_order_are_those_of_one_engine(engines: int) -> None:
    search = BeamSearch(ToyModel(vocabulary=9, seed=7))
    requests = some_requests(60, beam=3, n_best=3, longest=40, max_length=14)
    finished: list[int] = []
    pool = EnginePool(search, rows=30, engines=engines, threads=2)
    for one, other in zip(pool.run(requests, finished.append), Engine(search).run(requests), strict=True):
        assert_same(one, other)
    assert sum(finished) == 60
    assert pool.run([]) == []


def test_each_engine_computes_with_its_share_of_the_threads() -> None:
    before = torch.get_num_threads()
    model = WatchedModel()
    EnginePool(BeamSearch(model), rows=10, engines=2, threads=4).run(some_requests(20, beam=1))
    assert list(model.seen.values()) == [2, 2]
    assert torch.get_num_threads() == 4  # of the caller, and the default of new threads
    torch.set_num_threads(before)


def test_a_failed_request_is_a_result_and_the_others_are_found() -> None:
    requests = [Request(i, (POISON if i % 3 == 0 else 4, EOS), SearchOptions(beam=1)) for i in range(12)]
    results = EnginePool(BeamSearch(FailingModel()), engines=2, threads=2).run(requests)
    assert [str(result.error) if result.error else None for result in results] == ["poison", None, None] * 4


def test_an_interruption_ends_the_threads() -> None:
    def interrupt(finished: int) -> None:
        raise KeyboardInterrupt

    threads = threading.active_count()
    pool = EnginePool(BeamSearch(ToyModel()), rows=10, engines=2, threads=2)
    with pytest.raises(KeyboardInterrupt):
        pool.run(some_requests(200), interrupt)
    assert threading.active_count() == threads
    assert all(result.error is None for result in pool.run(some_requests(20)))


def test_an_engine_that_breaks_does_not_leave_the_caller_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Engine) -> int:
        raise SystemExit("broken")

    monkeypatch.setattr(Engine, "step", broken)
    with pytest.raises(SystemExit, match="broken"):
        EnginePool(BeamSearch(ToyModel()), engines=2, threads=2).run(some_requests(4))


@pytest.mark.parametrize("fastest", [1, 2, 4])
def test_a_large_input_measures_the_number_of_engines_once(fastest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "LARGE", 40)
    monkeypatch.setattr(pool_module, "SAMPLE", 4)
    used: list[int] = []
    now = 0.0
    run = EnginePool._run

    def timed(self: EnginePool, requests: list[Request], engines: int, progress: pool_module.Progress) -> object:
        nonlocal now
        used.append(engines)
        now += 1.0 if engines == fastest else 2.0
        return run(self, requests, engines, progress)

    monkeypatch.setattr(EnginePool, "_run", timed)
    monkeypatch.setattr("time.perf_counter", lambda: now)
    pool = EnginePool(BeamSearch(ToyModel()), threads=4)
    assert pool.run(some_requests(20, beam=1)) is not None
    assert (pool.engines, used) == (None, [4])  # too few: an engine a thread
    finished: list[int] = []
    results = pool.run(some_requests(60, beam=1), finished.append)
    assert [result.key for result in results] == list(range(60))
    assert (pool.engines, used[1:]) == (fastest, [1, 1, 2, 4, fastest])
    assert sum(finished) == 60
    pool.run(some_requests(60, beam=1))
    assert used[6:] == [fastest]


def test_few_rows_are_not_divided_among_many_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []

    def run(self: EnginePool, requests: list[Request], engines: int, progress: pool_module.Progress) -> object:
        used.append(engines)
        return {}

    monkeypatch.setattr(EnginePool, "_run", run)
    EnginePool(BeamSearch(ToyModel()), rows=320, threads=64).run([])
    EnginePool(BeamSearch(ToyModel()), rows=10, threads=64).run([])
    assert used == [4, 1]


def test_equal_keys_and_numbers_out_of_range_are_refused() -> None:
    search = BeamSearch(ToyModel())
    with pytest.raises(SearchError, match="same key"):
        EnginePool(search).run([Request("a", (4, EOS)), Request("a", (5, EOS))])
    sizes: list[dict[str, int]] = [{"rows": 0}, {"engines": 0}, {"threads": -1}]
    for numbers in sizes:
        with pytest.raises(SearchError, match="must be at least 1"):
            EnginePool(search, **numbers)  # type: ignore[arg-type]
