"""The loaded models: which model translates which pair, and running its searches in the worker's threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from service import languages
from service.errors import BadRequest
from service.worker import Worker

if TYPE_CHECKING:  # only then: torch is loaded with the models, after the server answers /health
    from nmt.search.engine import Request, Result
    from nmt.translator import Steps, Translator

T = TypeVar("T")
Pair = tuple[str, str]
SHORT = 2000
"""characters of a request up to which its text is prepared at once: less work than to hand it to a thread"""
WARM_UP = ("A", "The quick brown fox jumps over the lazy dog, again and again and again.")  # a short and a long one


@dataclass(frozen=True)
class Output:
    """A translated text; alternatives are distinct from it and from each other, best first."""

    text: str
    alternatives: tuple[str, ...]


@dataclass(frozen=True)
class Search:
    """The search settings of the service; None: as the model's file says."""

    beam: int | None = None
    length_penalty: float | None = None
    split_sentences: bool = True
    stop_at: int = 0


class Model:
    """One exported file in service.

    pairs: (source, target) codes, as the model has them. Long text is prepared in a thread pool, so that the event loop
    stays free, and all text is searched in the worker's threads, together with all other requests.
    """

    def __init__(
        self,
        name: str,
        pairs: Sequence[Pair],
        translator: Translator,
        worker: Worker,
        search: Search = Search(),
    ) -> None:
        self.name = name
        self.pairs = tuple(pairs)
        self.worker = worker
        self._translator = translator
        self._search = search
        self._codes = {languages.normalise(code): code for pair in self.pairs for code in pair}
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix=f"text {name}")

    async def translate(self, texts: Sequence[str], source: str, target: str, alternatives: int) -> list[Output]:
        """Translate texts between two normalised codes. Raises ServiceError; when cancelled, the work is dropped."""
        n_best = alternatives + 1
        beam = self._search.beam and max(self._search.beam, n_best)
        options = self._translator.search_options(beam=beam, n_best=n_best, length_penalty=self._search.length_penalty)
        if self._search.stop_at:  # no fewer than are asked for, and no more than there can be
            options = replace(options, stop_at=min(max(self._search.stop_at, n_best), options.beam))
        steps = self._translator.steps(
            texts,
            options,
            split_sentences=self._search.split_sentences,
            source_language=self._codes[source],
            target_language=self._codes[target],
        )
        short = sum(map(len, texts)) <= SHORT

        async def advance(results: list[Result] | None) -> tuple[list[Request], list[Output] | None]:
            return _advance(steps, results) if short else await self._in_pool(partial(_advance, steps, results))

        with self.worker.reserve(len(texts)):
            requests, outputs = await advance(None)
        while outputs is None:
            results = await self.worker.submit(requests)
            requests, outputs = await advance(results)
        return outputs

    async def confidence(self, texts: Sequence[str]) -> list[float]:
        """Return for each text how much of it the model's vocabulary covers, in percent."""
        return await self._in_pool(lambda: [round(100.0 * self._translator.coverage(text), 1) for text in texts])

    def warm_up(self) -> None:
        """Translate two sentences, twice, from outside the event loop. Raises what goes wrong.

        torch observes the first call of each part of an exported model and compiles it at the second.
        """
        source, target = map(languages.normalise, self.pairs[0])
        for _ in range(2):
            asyncio.run(self.translate(WARM_UP, source, target, 1))

    def close(self, timeout_s: float) -> None:
        """End its threads; running work has ``timeout_s`` seconds to finish."""
        self.worker.stop(timeout_s)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _in_pool(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _advance(steps: Steps, results: list[Result] | None) -> tuple[list[Request], list[Output] | None]:
    """Send `results` (None to start) to the translator's steps: the next requests, or the outputs at the end.

    The end is a plain return value, because a StopIteration cannot cross a future.
    """
    try:
        return (next(steps) if results is None else steps.send(results)), None
    except StopIteration as end:
        return [], [Output(translation.text, translation.alternatives) for translation in end.value]


class Models:
    """All models, by language pair; one model for each pair."""

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
