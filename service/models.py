"""Models: exported files in service and their states, one of them loaded, and which of them translates which pair.

unloaded --first request, or the start--> loading --loaded and warmed up--> ready
loading --damaged, or too slow--> failed         ready --idle, and its room is needed--> unloaded
ready --file replaced or removed--> draining --its last request has ended--> closed
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar

from service import languages
from service.detection import Detected, Detector, detector
from service.errors import BadRequest
from service.worker import Worker

if TYPE_CHECKING:  # only then: torch is loaded with the models, after the server answers /health
    from nmt.search.engine import Request, Result, SearchOptions
    from nmt.translation import Translation
    from nmt.translator import Steps, Translator

T = TypeVar("T")
Pair = tuple[str, str]
CHARACTERS_A_PIECE = 4  # a guess, for the work of a text that is not cut into pieces yet
SHORT = 2000
"""characters of a request up to which its text is prepared at once: less work than to hand it to a thread"""
WARM_UP = ("A", "The quick brown fox jumps over the lazy dog, again and again and again.")  # a short and a long one


@dataclass(frozen=True)
class Search:
    """Search settings, of the service or of a request; None: as the service or the model's file says."""

    beam: int | None = None
    length_penalty: float | None = None
    split_sentences: bool = True
    n_best: int = 1
    stop_at: int = 0


class Cutting(TypedDict):
    """How the translator cuts texts."""

    split_sentences: bool
    source_language: str
    target_language: str


@dataclass(frozen=True)
class Description:
    """What is known of an exported file before its model is loaded."""

    name: str
    """of the file, without .pt: the name for requests"""
    pairs: tuple[Pair, ...]
    """(source, target) codes, as the file has them"""
    exported: str = ""
    """date of the export, ISO 8601, UTC"""
    written: float = 0.0
    """date of the file, in seconds since 1970: decides between equal dates of export"""
    dtype: str = "float32"
    size_bytes: int = 0
    digest: str = ""
    """of its content"""


class Model:
    """One exported file in memory.

    Long text is prepared in a thread pool, so that the event loop stays free, and all text is searched in the worker's
    threads, together with all other requests.
    """

    def __init__(
        self, description: Description, translator: Translator, worker: Worker, search: Search = Search()
    ) -> None:
        self.description = description
        self.worker = worker
        self._translator = translator
        self._search = search
        self._codes = {languages.normalise(code): code for pair in description.pairs for code in pair}
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix=f"text {description.name}")

    async def translate(
        self, texts: Sequence[str], source: str, target: str, search: Search = Search()
    ) -> list[Translation]:
        """Translate texts between two normalised codes. Raises ServiceError; when cancelled, the work is dropped."""
        steps = self._translator.steps(texts, self._options(search), **self._cutting(source, target))
        characters = sum(map(len, texts))
        short = characters <= SHORT

        async def advance(results: list[Result] | None) -> tuple[list[Request], list[Translation] | None]:
            return _advance(steps, results) if short else await self._in_pool(partial(_advance, steps, results))

        with self.worker.reserve(len(texts), characters // CHARACTERS_A_PIECE):
            requests, translations = await advance(None)
        accepted = False
        while translations is None:
            results = await self.worker.submit(requests, accepted=accepted)
            accepted = True
            requests, translations = await advance(results)
        return translations

    async def stream(
        self, texts: Sequence[str], source: str, target: str, search: Search = Search()
    ) -> AsyncGenerator[tuple[int, Translation]]:
        """Translate as `translate`; yield the units of each text (about a sentence each) in order, as they finish.

        Each comes with the index of its text. Closed early, it drops the rest of the work.
        """
        options, cutting = self._options(search), self._cutting(source, target)

        def prepare() -> list[tuple[int, Steps, list[Request]]]:
            units = [
                (n, one)
                for n, text in enumerate(texts)
                for one in self._translator.unit_steps(text, options, **cutting)
            ]
            return [(n, steps, next(steps)) for n, steps in units]

        characters = sum(map(len, texts))
        with self.worker.reserve(len(texts), characters // CHARACTERS_A_PIECE):
            units = prepare() if characters <= SHORT else await self._in_pool(prepare)
        arrived: dict[Hashable, Result] = {}
        news = asyncio.Event()

        def keep(result: Result) -> None:
            arrived[result.key] = result
            news.set()

        job = self.worker.submit([request for _, _, requests in units for request in requests], each=keep)
        job.add_done_callback(lambda _: news.set())
        try:
            for n, steps, requests in units:
                while not all(request.key in arrived for request in requests):
                    if job.done() and not news.is_set():
                        job.result()  # raises
                    await news.wait()
                    news.clear()
                more, done = _advance(steps, [arrived.pop(request.key) for request in requests])
                while done is None:
                    more, done = _advance(steps, await self.worker.submit(more, accepted=True))
                yield n, done[0]
        finally:
            job.cancel()

    def _options(self, search: Search) -> SearchOptions:
        beam = search.beam or self._search.beam
        penalty = self._search.length_penalty if search.length_penalty is None else search.length_penalty
        options = self._translator.search_options(
            beam=beam and max(beam, search.n_best), n_best=search.n_best, length_penalty=penalty
        )
        if self._search.stop_at:  # no fewer than are asked for, and no more than there can be
            options = replace(options, stop_at=min(max(self._search.stop_at, search.n_best), options.beam))
        return options

    def _cutting(self, source: str, target: str) -> Cutting:
        return {
            "split_sentences": self._search.split_sentences,
            "source_language": self._codes[source],
            "target_language": self._codes[target],
        }

    async def confidence(self, texts: Sequence[str]) -> list[float]:
        """Return for each text how much of it the model's vocabulary covers, in percent."""
        return await self._in_pool(lambda: [round(100.0 * self._translator.coverage(text), 1) for text in texts])

    def warm_up(self) -> None:
        """Translate two sentences, three times, from outside the event loop. Raises what goes wrong.

        torch observes the first call of each part of an exported model and compiles it at the second; the third gives a
        first measurement of the speed.
        """
        source, target = map(languages.normalise, self.description.pairs[0])
        for _ in range(3):
            self.worker.forget_speed()
            asyncio.run(self.translate(WARM_UP, source, target, Search(n_best=2)))

    def close(self, timeout_s: float) -> None:
        """End its threads; running work has ``timeout_s`` seconds to finish."""
        self.worker.stop(timeout_s)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _in_pool(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _advance(steps: Steps, results: list[Result] | None) -> tuple[list[Request], list[Translation] | None]:
    """Send `results` (None to start) to the translator's steps: the next requests, or the translations at the end.

    The end is a plain return value, because a StopIteration cannot cross a future.
    """
    try:
        return (next(steps) if results is None else steps.send(results)), None
    except StopIteration as end:
        return [], end.value


class State(StrEnum):
    """Of a file in service."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    DRAINING = "draining"


Stamp = tuple[int, ...]
"""changes when a file is written or replaced"""


class Keeper(Protocol):
    """Who loads models (service.registry.Registry)."""

    def use(self, file: ModelFile) -> AbstractAsyncContextManager[Model]: ...


class ModelFile:
    """One exported file in service, in memory or not. Used in the event loop only.

    model: the loaded model. loading: its future, while it is loaded on demand. users: requests that use it or wait for
    it. last_used, failed_at: time.monotonic(). error: why it could not be loaded, or a newer file of this name not.
    """

    def __init__(self, description: Description, stamp: Stamp, keeper: Keeper) -> None:
        self.description = description
        self.stamp = stamp
        self.state = State.UNLOADED
        self.model: Model | None = None
        self.loading: asyncio.Future[Model] | None = None
        self.users = 0
        self.last_used = 0.0
        self.failed_at = 0.0
        self.error = ""
        self._keeper = keeper

    @property
    def name(self) -> str:
        """The name for requests."""
        return self.description.name

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Normalised (source, target) codes."""
        return tuple((languages.normalise(a), languages.normalise(b)) for a, b in self.description.pairs)

    def use(self) -> AbstractAsyncContextManager[Model]:
        """Return a context in which the model is in memory; it is loaded if need be. Raises ServiceError."""
        return self._keeper.use(self)

    def listed(self, default_for: Sequence[Pair] = ()) -> dict[str, Any]:
        """Return what `GET /models` says of the file; default_for: the pairs that it is the default for."""

        def codes(pairs: Sequence[Pair]) -> list[dict[str, str]]:
            return [{"source": source, "target": target} for source, target in pairs]

        return {
            "name": self.name,
            "pairs": codes(self.description.pairs),
            "default_for": codes(default_for),
            "state": str(self.state),
            "exported": self.description.exported,
            "size_bytes": self.description.size_bytes,
            "type": self.description.dtype,
            **({"error": self.error} if self.error else {}),
        }


Route = Sequence[tuple[ModelFile, Pair]]


class Models:
    """The files in service at one time, by language pair: for each pair the one that was exported last.

    The files in it do not change: when one comes or goes, there is a new `Models`. routes: for each pair that can be
    translated the pairs that lead there: itself, or two through a third language where no model translates it directly
    (and `pivot` allows that). users: how often it is held; then ``released`` is called.
    """

    def __init__(
        self, files: Sequence[ModelFile], *, pivot: bool = True, released: Callable[[], None] = lambda: None
    ) -> None:
        self.files = {file.name: file for file in files}
        self.users = 0
        self._released = released
        self._whole = self
        self.pairs: dict[Pair, ModelFile] = {}
        self.languages: dict[str, str] = {}  # normalised code -> code as shown, in order
        self._detector: Detector | None = None
        newest: dict[Pair, ModelFile] = {}
        for file in newest_first(files):
            for pair in file.pairs:
                newest.setdefault(pair, file)
        for file in files:
            for written, pair in zip(file.description.pairs, file.pairs, strict=True):
                if newest[pair] is file:
                    self.pairs[pair] = file
                    for code, shown in zip(pair, written, strict=True):
                        self.languages.setdefault(code, languages.ALIASES.get(shown, shown))
        self.routes: dict[Pair, tuple[Pair, ...]] = {pair: (pair,) for pair in self.pairs}
        for first in self.pairs if pivot else ():
            for second in self.pairs:
                if first[1] == second[0] and first[0] != second[1]:
                    self.routes.setdefault((first[0], second[1]), (first, second))

    def only(self, name: str | None) -> Models:
        """Return these with the file of a name alone to choose from; all of them for None."""
        if name is None:
            return self
        one = Models([self.files[name]], pivot=False)
        one.languages, one._detector, one._whole = self.languages, self._detector, self._whole
        return one

    @contextmanager
    def held(self) -> Iterator[Models]:
        """Keep these models until the end of the context, even if their files are replaced meanwhile."""
        self._whole.users += 1
        try:
            yield self
        finally:
            self._whole.users -= 1
            self._whole._released()

    def route(self, source: str, target: str) -> Route:
        """Return the files that lead from one normalised code to another, each with its pair."""
        return [(self.pairs[pair], pair) for pair in self.routes[source, target]]

    def __iter__(self) -> Iterator[Model]:
        """Iterate over the models in memory."""
        return iter([file.model for file in self.files.values() if file.model is not None])

    def __str__(self) -> str:
        def described(file: ModelFile) -> str:
            notes = [" ".join("-".join(pair) for pair in file.description.pairs)]
            notes += ["by name only"] * (file not in self.pairs.values())
            notes += [file.state] * (file.state is not State.READY)
            return f"{file.name} ({', '.join(notes)})"

        return ", ".join(map(described, self.files.values()))

    def listed(self) -> list[dict[str, Any]]:
        """Return what `GET /models` says of each file."""
        return [
            file.listed([pair for pair in file.pairs if self.pairs.get(pair) is file]) for file in self.files.values()
        ]

    @property
    def default_pair(self) -> Pair:
        """The first pair, with the codes as shown."""
        source, target = next(iter(self.pairs))
        return self.languages[source], self.languages[target]

    def targets(self, code: str) -> list[str]:
        """Codes, as shown, that a language can be translated to: itself too, unchanged, as the protocol has it."""
        source = languages.normalise(code)
        return [
            shown for target, shown in self.languages.items() if target == source or (source, target) in self.routes
        ]

    @property
    def sources(self) -> list[str]:
        """Normalised codes of the languages that something is translated from, in order."""
        return list(dict.fromkeys(source for source, _ in self.pairs))

    def load_detector(self) -> Detector | None:
        """Return the detector of languages, loaded at the first call; None without a choice, or if not installed."""
        if self._detector is None and len(self.sources) > 1:
            self._detector = detector(tuple(self.languages))
        return self._detector

    async def detect(self, texts: Sequence[str], target: str = "") -> list[Detected]:
        """Return the source language of each text, which is to be translated to ``target`` (a normalised code).

        With one source language there is no choice, and the confidence tells how much of the text its model knows.
        Raises BadRequest where there are several and no detector: then only the client can tell.
        """
        sources = self.sources
        if len(sources) == 1:
            async with next(iter(self.pairs.values())).use() as model:
                return [Detected(sources[0], share) for share in await model.confidence(texts)]
        found = await asyncio.to_thread(self.load_detector)
        if found is None:
            raise self._undetectable()
        fitting = [source for source in sources if (source, target) in self.routes]
        return await asyncio.to_thread(found.detect, texts, fitting or sources)

    async def rank(self, text: str) -> list[Detected]:
        """Return the languages that a text may be in, best first: those that `detect` chooses from. Raises likewise."""
        if len(self.sources) == 1:
            return await self.detect([text])
        found = await asyncio.to_thread(self.load_detector)
        if found is None:
            raise self._undetectable()
        return await asyncio.to_thread(found.rank, text)

    def _undetectable(self) -> BadRequest:
        known = ", ".join(self.languages[source] for source in self.sources)
        return BadRequest(f"auto is not supported: this server cannot detect languages, name the source ({known})")


def newest_first(files: Iterable[ModelFile]) -> list[ModelFile]:
    """Sort by the date of export; equal ones by the date of the file."""
    return sorted(files, key=lambda file: (file.description.exported, file.description.written), reverse=True)
