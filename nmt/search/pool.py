"""Engines side by side: each in a thread of its own, with its share of the rows and of the CPU threads.

In the way of the data: translator -> **pool** -> engines -> pool -> translator. Most operations of a step are too short
to be divided among threads. So two engines with one thread each translate more than one engine with two: on two cores
1.1 times as many sentences without the kernels, and 1.2 times beside a busy process, for which two threads of one
engine wait at each operation. The operations release Python's lock, so the engines run at the same time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from queue import SimpleQueue
from typing import Any

import torch

from nmt.errors import SearchError
from nmt.search.engine import ROWS, Engine
from nmt.search.request import Request, Result

LARGE = 2000
"""number of requests from which on it pays to measure how many engines are best"""

SAMPLE = 64
"""requests with which each number of engines is tried"""

AS_FAST = 0.85
"""share of the highest measured speed from which more engines are chosen: a short measurement errs by as much, and more
engines lose less beside other busy threads"""

FEWEST_ROWS = 80
"""rows that an engine has at least as long as nothing was measured"""

Outcome = list[Result] | BaseException
Progress = Callable[[int], object] | None


def set_own_threads(threads: int) -> None:
    """Set the number of CPU threads with which the calling thread computes; each thread has a number of its own."""
    torch.get_num_threads()  # a thread that has not computed yet would take the number set last, in any thread
    torch.set_num_threads(threads)


class EnginePool:
    """Searches many requests together as `Engine.run` does, with the same results, by several engines."""

    def __init__(
        self,
        search: Any,
        *,
        rows: int = ROWS,
        engines: int | None = None,
        threads: int | None = None,
        device: torch.device | str = "cpu",
        graphs: bool = False,
    ) -> None:
        """Run `search` on `device` with `rows` hypotheses together, see `Engine`, and `threads` CPU threads in all.

        engines: among how many both are divided; None to measure it in the first large input. threads: default torch's
        number. On a GPU there is always one engine, with `graphs` as in `Engine`. Raises `SearchError` if a number is
        below 1.
        """
        for name, value in (("rows", rows), ("engines", engines), ("threads", threads)):
            if value is not None and value < 1:
                raise SearchError(f"{name} is {value}: it must be at least 1")
        self.threads = threads or torch.get_num_threads()
        self.engines = engines if torch.device(device).type == "cpu" else 1
        self._search = search
        self._rows = rows
        self._device = device
        self._graphs = graphs

    def run(self, requests: Iterable[Request], progress: Progress = None) -> list[Result]:
        """Search all `requests` and return their results in the same order.

        `progress` is called by this thread with the number that finished since its last call. If interrupted, `run`
        ends the engines' threads before it raises.
        """
        requests = list(requests)
        if len({request.key for request in requests}) < len(requests):
            raise SearchError("two requests have the same key: give each request its own key")
        results: dict[Hashable, Result] = {}
        rest = requests
        if self.engines is None and self.threads > 1 and len(requests) >= LARGE:
            by_length = sorted(requests, key=lambda request: len(request.src))
            every = len(requests) // (SAMPLE * len(self._choices()))
            results = self.measure(by_length[::every], progress)
            rest = [request for request in requests if request.key not in results]
        guess = min(self.threads, max(1, self._rows // FEWEST_ROWS))
        results |= self._run(rest, self.engines or guess, progress)
        return [results[request.key] for request in requests]

    def measure(self, requests: Sequence[Request], progress: Progress = None) -> dict[Hashable, Result]:
        """Search `requests` of ascending length, a part with each number of engines, and set `engines` to a fast one.

        Returns the results by key.
        """
        choices = self._choices()
        results = self._run(requests[:2], 1, progress)  # torch compiles an exported model in its first two calls
        rates: dict[int, float] = {}
        for i, engines in enumerate(choices):
            part = requests[2 + i :: len(choices)]
            began = time.perf_counter()
            results |= self._run(part, engines, progress)
            rates[engines] = sum(len(request.src) for request in part) / (time.perf_counter() - began)
        fastest = max(rates.values())
        self.engines = max(engines for engines, rate in rates.items() if rate >= AS_FAST * fastest)
        return results

    def _choices(self) -> list[int]:
        """Return the numbers of engines to choose from: 1, 2, 4, ... and one a thread."""
        return sorted({self.threads, *(2**n for n in range(self.threads.bit_length()))})

    def _run(self, requests: Sequence[Request], engines: int, progress: Progress) -> dict[Hashable, Result]:
        """Search `requests` with so many engines; return the results by key."""
        engines = max(1, min(engines, len(requests)))
        rows, threads = max(1, self._rows // engines), max(1, self.threads // engines)
        if engines == 1:  # in this thread: to start one takes longer than a step
            torch.set_num_threads(threads)
            return {result.key: result for result in self._engine(rows).run(requests, progress)}
        # Longest first, as in `Engine.run`.
        waiting = deque(sorted(requests, key=lambda request: -len(request.src)))
        outcomes: SimpleQueue[Outcome] = SimpleQueue()
        stop = threading.Event()
        arguments = (rows, threads, waiting, outcomes, stop)
        workers = [threading.Thread(target=self._work, args=arguments, name=f"engine {i}") for i in range(engines)]
        results: dict[Hashable, Result] = {}
        try:
            for worker in workers:
                worker.start()
            while len(results) < len(requests):
                outcome = outcomes.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                results |= {result.key: result for result in outcome}
                if progress is not None:
                    progress(len(outcome))
        finally:
            stop.set()
            for worker in workers:
                if worker.ident is not None:
                    worker.join()
            torch.set_num_threads(self.threads)  # threads that are started later take the number that was set last
        return results

    def _engine(self, rows: int) -> Engine:
        return Engine(self._search, rows=rows, device=self._device, graphs=self._graphs)

    def _work(
        self, rows: int, threads: int, waiting: deque[Request], outcomes: SimpleQueue[Outcome], stop: threading.Event
    ) -> None:
        """Take requests from `waiting` while there is room for them, until there are none or `stop` is set."""
        try:
            set_own_threads(threads)
            engine = self._engine(rows)
            while not stop.is_set():
                # Some more than are decoded, so that they can join in groups.
                while engine.load < rows + rows // 4 and waiting:
                    try:
                        engine.add(waiting.popleft())
                    except IndexError:  # another engine was faster
                        break
                left = engine.step()
                if results := engine.finished():
                    outcomes.put(results)
                if not left and not waiting:
                    return
        except BaseException as error:
            outcomes.put(error)
