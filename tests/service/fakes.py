"""A service without a neural network: an engine that counts its steps, and a translator to upper case."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
from fastapi import FastAPI

from nmt.text.cleaning import clean
from service.app import create_app
from service.metrics import Metrics
from service.models import Description, Model, Stamp
from service.settings import Settings, SettingsError, load_settings
from service.worker import Worker

POISON = "poison"  # a text on which the fake engine reports an error
CRASH = "crash"  # a text on which a step raises
COVERAGE = 60.0  # per cent: confidence of the fake detection


@dataclass(frozen=True)
class FakeRequest:
    """One segment."""

    key: Hashable
    text: str
    alternatives: int

    @property
    def src(self) -> range:
        """A piece for each character."""
        return range(len(self.text))


@dataclass(frozen=True)
class FakeResult:
    """Its translation."""

    key: Hashable
    text: str
    error: Exception | None = None

    @property
    def hypotheses(self) -> list[FakeHypothesis]:
        """One, with a piece for each character."""
        return [] if self.error else [FakeHypothesis([0.0] * len(self.text))]


@dataclass(frozen=True)
class FakeHypothesis:
    """What the service reads of a hypothesis beside its text."""

    token_log_probs: list[float]


@dataclass
class FakeEngine:
    """An engine that finishes each segment after ``steps`` steps. While ``gate`` is cleared, a step waits."""

    steps: int = 3
    step_s: float = 0.0
    gate: threading.Event = field(default_factory=threading.Event)
    active: dict[Hashable, tuple[FakeRequest, int]] = field(default_factory=dict)
    done: list[FakeResult] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)  # active segments of each step
    added: list[str] = field(default_factory=list)
    cancelled: list[Hashable] = field(default_factory=list)
    broken: type[BaseException] | None = None  # what step raises from now on

    def __post_init__(self) -> None:
        self.gate.set()

    def add(self, request: FakeRequest) -> None:
        self.added.append(request.text)
        self.active[request.key] = (request, self.steps)

    @property
    def load(self) -> int:
        return len(self.active)

    def cancel(self, key: Hashable) -> None:
        self.cancelled.append(key)
        self.active.pop(key, None)

    def step(self) -> int:
        assert self.gate.wait(20), "the test forgot to open the gate"
        if self.step_s:
            time.sleep(self.step_s)
        if self.broken is not None:
            raise self.broken("broken")
        self.batches.append(len(self.active))
        for key, (request, left) in list(self.active.items()):
            if request.text == CRASH:
                raise RuntimeError("step failed")
            if request.text == POISON:
                self.done.append(FakeResult(key, "", ValueError("poisoned")))
            elif left == 1:
                self.done.append(FakeResult(key, request.text.upper()))
            else:
                self.active[key] = (request, left - 1)
                continue
            del self.active[key]
        return len(self.active)

    def finished(self) -> list[FakeResult]:
        done, self.done = self.done, []
        return done


@dataclass(frozen=True)
class Identity:
    """Attention of each piece to the one of the same place."""

    size: int

    def tolist(self) -> list[list[float]]:
        return [[float(row == column) for column in range(self.size)] for row in range(self.size)]


@dataclass(frozen=True)
class FakeSegment:
    """A line in upper case, word by word."""

    source: str
    text: str
    complete: bool = True

    @property
    def source_pieces(self) -> list[str]:
        return [*(f"▁{word}" for word in self.source.split()), "</s>"]

    @property
    def target_pieces(self) -> list[str]:
        return [*(f"▁{word}" for word in self.text.split()), "</s>"]

    @property
    def token_log_probs(self) -> list[float]:
        return [math.log(0.5)] * len(self.target_pieces)

    @property
    def attention(self) -> Identity:
        return Identity(len(self.target_pieces))


@dataclass(frozen=True)
class FakeTranslation:
    """A text in upper case."""

    source: str
    text: str
    alternatives: tuple[str, ...]
    segments: tuple[FakeSegment, ...] = ()
    score: float = 0.5
    alternative_scores: tuple[float, ...] = ()

    def units(self) -> list[FakeTranslation]:
        """Cut at line ends."""
        lines = zip(self.source.splitlines(keepends=True), self.text.splitlines(keepends=True), strict=True)
        segments = iter(self.segments)
        return [
            FakeTranslation(source, text, (), tuple(itertools.islice(segments, bool(source.strip()))))
            for source, text in lines
        ] or [self]


class FakeTranslator:
    """Translates to upper case, a line a segment; blank lines stay as they are."""

    def __init__(self) -> None:
        self._keys = itertools.count()

    def search_options(self, **search: Any) -> dict[str, Any]:
        return search

    def steps(
        self, texts: Sequence[str], options: dict[str, Any], **_: Any
    ) -> Generator[list[FakeRequest], list[FakeResult], list[FakeTranslation]]:
        others = options["n_best"] - 1
        lines = [text.split("\n") for text in texts]
        results = iter(
            (yield [FakeRequest(next(self._keys), line, others) for text in lines for line in text if line.strip()])
        )
        translations: list[FakeTranslation] = []
        for text, parts in zip(texts, lines, strict=True):
            found = [next(results).text if line.strip() else line for line in parts]
            segments = [
                FakeSegment(clean(line), clean(new)) for line, new in zip(parts, found, strict=True) if line.strip()
            ]
            whole = "\n".join(found)
            alternatives = tuple(f"{whole} {n}" for n in range(1, others + 1))
            translations.append(FakeTranslation(text, whole, alternatives, tuple(segments), 0.5, (0.25,) * others))
        return translations

    def unit_steps(
        self, text: str, options: dict[str, Any], **_: Any
    ) -> list[Generator[list[FakeRequest], list[FakeResult], list[FakeTranslation]]]:
        return [self.steps([line], options) for line in text.splitlines(keepends=True) or [""]]

    def coverage(self, text: str) -> float:
        return COVERAGE / 100


Pairs = Sequence[tuple[str, str]]


class FakeModels:
    """Models named fake0, fake1, ..., one per group of pairs, over one fake engine or one each.

    `put` adds and replaces files, and those of `descriptions` may be deleted. broken, unloadable: what describing and
    loading a file raises. gate: while it is cleared, a load waits. warmed_up: the models that are.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, engine: Any, groups: Sequence[Pairs] = ((("en", "de"),),)
    ) -> None:
        engines = engine if isinstance(engine, list) else [engine] * len(groups)
        self.settings = settings
        self.metrics = metrics
        self.descriptions = {f"fake{n}": Description(f"fake{n}", tuple(pairs)) for n, pairs in enumerate(groups)}
        self.engines = {f"fake{n}": one for n, one in enumerate(engines)}
        self.broken: dict[str, Exception] = {}
        self.unloadable: dict[str, Exception] = {}
        self.stamps: dict[str, Stamp] = {}
        self.loads: list[str] = []
        self.warmed_up: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()

    def put(self, name: str, pairs: Pairs = (("en", "de"),), engine: Any = None, **described: Any) -> None:
        """Add a file, or replace it."""
        self.touch(name)
        self.engines[name] = engine or FakeEngine()
        self.descriptions[name] = Description(name, tuple(pairs), **{"digest": str(self.stamps[name]), **described})

    def touch(self, name: str) -> None:
        """Change a file's stamp."""
        self.stamps[name] = (self.stamps.get(name, (0,))[0] + 1,)

    def look(self) -> dict[str, Stamp]:
        if not self.descriptions:
            raise SettingsError("no model")
        return {name: self.stamps.get(name, (0,)) for name in self.descriptions}

    def describe(self, name: str) -> Description:
        if name in self.broken:
            raise self.broken[name]
        return self.descriptions[name]

    def load(self, name: str) -> Model:
        assert self.gate.wait(20), "the test forgot to open the gate"
        if name in self.unloadable:
            raise self.unloadable[name]
        engine = self.engines[name]
        worker = Worker(
            lambda: engine,
            rows=self.settings.rows,
            capacity=self.settings.queue,
            timeout_s=self.settings.timeout_s,
            name=name,
            observer=self.metrics,
        )
        worker.start()
        self.loads.append(name)
        kind = Model if name in self.warmed_up else ColdModel
        return kind(self.descriptions[name], cast(Any, FakeTranslator()), worker)

    def freed(self) -> None:
        pass


class ColdModel(Model):
    """A model that is not warmed up, so that its engine has only the test's segments."""

    def warm_up(self) -> None:
        pass


def fake_app(
    engine: Any,
    groups: Sequence[Pairs] = ((("en", "de"),),),
    clock: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> FastAPI:
    """Build an app over a fake engine."""

    def load(given: Settings, metrics: Metrics) -> FakeModels:
        return FakeModels(given, metrics, engine, groups)

    return create_app(load_settings(**settings), load, clock)


@asynccontextmanager
async def client_of(app: FastAPI, *, ready: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """Run an app's lifespan and yield a client; with ``ready``, once the models are loaded."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        if ready:
            await until(lambda: app.state.service.not_ready() is None)
        yield client


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until another thread has made a condition true."""
    import anyio

    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.002)


def serve_slowly(port: int, step_s: float, **settings: Any) -> int:
    """Run ``python -m service`` over a fake engine, in a process of a test's own; return the exit code."""
    from service.server import serve

    def load(given: Settings, metrics: Metrics) -> FakeModels:
        return FakeModels(given, metrics, FakeEngine(step_s=step_s))

    return serve(load_settings(port=port, **settings), load)
