"""The loaded models: which one translates which pair, and the way text -> plan -> engine -> text through it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from service import languages
from service.errors import BadRequest
from service.worker import SearchRequest, Worker

T = TypeVar("T")
Pair = tuple[str, str]
WARM_UP = ("A", "The quick brown fox jumps over the lazy dog, again and again and again.")  # a short and a long one


@dataclass(frozen=True)
class Output:
    """A translated text; alternatives are distinct from it and from each other, best first."""

    text: str
    alternatives: tuple[str, ...]


class Plan(Protocol):
    """A text cut into search requests."""

    @property
    def requests(self) -> Sequence[SearchRequest]: ...


class Pipeline(Protocol):
    """The pure halves around the search (nmt.translator); called from the threads of the pool.

    revise: what is to be searched once more, after results that did not end, or None. join: with all the results.
    """

    def plan(self, text: str, source: str, target: str, alternatives: int) -> Plan: ...
    def revise(self, plan: Any, results: Sequence[Any]) -> Plan | None: ...
    def join(self, plan: Any, results: Sequence[Any]) -> Output: ...
    def confidence(self, text: str) -> float: ...


class Model:
    """One exported file at work.

    pairs: (source, target) codes, as the model has them. Text is prepared in ``pool``, so that the event loop stays
    free, and searched in the worker's thread, together with all other requests.
    """

    def __init__(self, name: str, pairs: Sequence[Pair], pipeline: Pipeline, worker: Worker) -> None:
        self.name = name
        self.pairs = tuple(pairs)
        self.worker = worker
        self._pipeline = pipeline
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix=f"text {name}")

    async def translate(self, texts: Sequence[str], source: str, target: str, alternatives: int) -> list[Output]:
        """Translate texts. Raises ServiceError; when cancelled, what is under way is dropped."""
        pipeline = self._pipeline
        with self.worker.reserve(len(texts)):
            plans = await self._aside(lambda: [pipeline.plan(text, source, target, alternatives) for text in texts])
        results = await self._search(plans)
        revised = await self._aside(
            lambda: [pipeline.revise(plan, got) for plan, got in zip(plans, results, strict=True)]
        )
        more = iter(await self._search([plan for plan in revised if plan is not None]))
        final = [
            (plan, got) if again is None else (again, [*got, *next(more)])
            for plan, again, got in zip(plans, revised, results, strict=True)
        ]
        return await self._aside(lambda: [pipeline.join(plan, got) for plan, got in final])

    async def _search(self, plans: Sequence[Plan]) -> list[list[Any]]:
        """The results of each plan's requests."""
        results = iter(await self.worker.submit([request for plan in plans for request in plan.requests]))
        return [list(itertools.islice(results, len(plan.requests))) for plan in plans]

    async def confidence(self, texts: Sequence[str]) -> list[float]:
        """How sure it is, 0 to 100, that each text is in the model's source language."""
        return await self._aside(lambda: [self._pipeline.confidence(text) for text in texts])

    def warm_up(self) -> None:
        """Translate a little, from outside the event loop: the first steps are slow. Raises what goes wrong."""
        source, target = map(languages.normalise, self.pairs[0])
        asyncio.run(self.translate(WARM_UP, source, target, 1))

    def close(self, timeout_s: float) -> None:
        """End its threads; what is under way has ``timeout_s`` seconds to finish."""
        self.worker.stop(timeout_s)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _aside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


class Models:
    """All models, found by pair; no two for the same pair."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.pairs: dict[Pair, Model] = {}
        self.languages: dict[str, str] = {}  # normalised code -> code as shown, in order
        for model in models:
            for written in model.pairs:
                pair = (languages.normalise(written[0]), languages.normalise(written[1]))
                self.pairs[pair] = model
                for code, shown in zip(pair, written, strict=True):
                    self.languages.setdefault(code, languages.ALIASES.get(shown, shown))
        self._models = tuple(models)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models)

    def __str__(self) -> str:
        return ", ".join(f"{model.name} ({' '.join('-'.join(pair) for pair in model.pairs)})" for model in self)

    @property
    def default_pair(self) -> Pair:
        """The first pair, with the codes as shown."""
        source, target = next(iter(self.pairs))
        return self.languages[source], self.languages[target]

    def targets(self, code: str) -> list[str]:
        """Codes, as shown, that a language can be translated to: itself too, unchanged, as the protocol has it."""
        source = languages.normalise(code)
        return [shown for target, shown in self.languages.items() if target == source or (source, target) in self.pairs]

    async def detect(self, texts: Sequence[str]) -> tuple[str, list[float]]:
        """The normalised source language of texts, and how sure that is for each.

        With one source language there is no choice, and the confidence tells how much of the text its model knows.
        Raises BadRequest where there are several: then only the client can tell.
        """
        sources = sorted({source for source, _ in self.pairs})
        if len(sources) > 1:
            known = ", ".join(self.languages[source] for source in sources)
            raise BadRequest(f"auto is not supported: this server cannot detect languages, name the source ({known})")
        model = next(model for (source, _), model in self.pairs.items() if source == sources[0])
        return sources[0], await model.confidence(texts)
