"""States of the service: loading, ready, draining, stopped or failed.

loading --models loaded and warmed up--> ready --SIGTERM--> draining --all answered, or drain time over--> stopped
   \\--no model can be loaded--> failed          \\--a step hangs, or engines fail again and again--> failed

The states of each model are in service/models.py.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from nmt.errors import NMTError
from service.errors import Unavailable
from service.metrics import Metrics
from service.models import Model, Models, State
from service.registry import Registry, Source, in_thread
from service.settings import Settings, SettingsError

log = logging.getLogger("service")

WATCH_S = 1.0  # seconds between two looks at the workers, at most

Loader = Callable[[Settings, Metrics], Source]


def load_exported(settings: Settings, metrics: Metrics) -> Source:
    """Return the models of the settings. torch is imported only here, after the server began to answer /health."""
    # torch warns that NumPy is missing; the service does not need it.
    warnings.filterwarnings("ignore", "Failed to initialize NumPy", UserWarning)
    from service.loading import Folder

    return Folder(settings, metrics)


class Service:
    """State of one app. ``load`` returns the source of its models, and is called in a thread."""

    def __init__(self, settings: Settings, metrics: Metrics, load: Loader) -> None:
        self.settings = settings
        self.metrics = metrics
        self.registry: Registry | None = None
        self.failure: str | None = None
        self.broken: str | None = None  # why it cannot translate any more, though its models were loaded
        self.draining = False
        self.on_failure: Callable[[str], None] | None = None  # called if the models cannot be loaded, or it is broken
        self._load = load
        self._drain_ends = 0.0  # time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Task[None] | None = None
        self._watching: list[asyncio.Task[None]] = []
        metrics.watch(
            workers=lambda: [model.worker for model in self._loaded()],
            ready=lambda: float(self.not_ready() is None),
        )
        metrics.watch_models(self._states)

    def _loaded(self) -> list[Model]:
        return [] if self.registry is None else self.registry.loaded()

    def _states(self) -> Iterator[tuple[str, float, float, float]]:
        """Return the metrics of each model, see `Metrics.watch_models`."""
        for name, file in self.models.files.items() if self.models is not None else ():
            worker = None if file.model is None else file.model.worker
            yield (
                name,
                float(worker is not None),
                worker.waiting if worker else file.users,
                worker.active if worker else 0,
            )

    # --- state --------------------------------------------------------------------------------------------------

    @property
    def models(self) -> Models | None:
        """The models for new requests; None while they are being loaded for the first time."""
        return None if self.registry is None else self.registry.models

    def not_ready(self) -> str | None:
        """Return why no requests are accepted at present, or None."""
        if self.unhealthy():
            return "the service cannot translate"
        if self.draining:
            return "the service is shutting down"
        return "the models are loading" if self.models is None else None

    def unhealthy(self) -> str | None:
        """Return what is broken until a restart, or None."""
        if self.failure is not None:
            return f"the models could not be loaded: {self.failure}"
        if self.broken is not None:
            return self.broken
        dead = [model.worker for model in self._loaded() if not model.worker.alive]
        return None if self.draining or not dead else f"{dead[0].name} has stopped: {dead[0].failure}"

    def require(self) -> Models:
        """Return the models. Raises Unavailable unless the service is ready."""
        reason = self.not_ready()
        if reason is not None or self.models is None:
            why = "draining" if self.draining else ""
            raise Unavailable(f"{reason}, try again later", retry_after=5, closing=self.draining, reason=why)
        return self.models

    def states(self) -> dict[str, str]:
        """Return the state of each file of models by name; "failed" also where an older file of the name serves on."""
        if self.registry is None or self.models is None:
            return {}
        states = {name: str(file.state) for name, file in self.models.files.items()}
        return states | dict.fromkeys(self.registry.failures, str(State.FAILED))

    # --- transitions --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start loading and return at once, so that /health is answered while the models load."""
        self._loop = asyncio.get_running_loop()
        self._starting = asyncio.create_task(self._load_models())
        self._watching.append(asyncio.create_task(self._watch()))

    async def _watch(self) -> None:
        """Look for a hung step and a dead worker, and then end the service: only a restart of the process helps."""
        while self.broken is None:
            await asyncio.sleep(min(WATCH_S, self.settings.hang_s / 4))
            for model in self._loaded():
                if model.worker.hung(self.settings.hang_s):
                    model.worker.give_up(f"a step did not end within {self.settings.hang_s:g} s")
                if model.worker.failure is not None:
                    self.broken = f"{model.worker.name} has stopped: {model.worker.failure}"
        log.critical("%s", self.broken)
        if self.on_failure is not None:
            self.on_failure(self.broken)

    async def _load_models(self) -> None:
        began = time.monotonic()
        try:
            source = await in_thread(partial(self._load, self.settings, self.metrics), self.settings.load_s)
            self.registry = Registry(source, self.settings, self.metrics, lambda: self.draining)
            await self.registry.start()
        except Exception as error:
            self.failure = str(error) or type(error).__name__
            if not isinstance(error, NMTError | SettingsError):
                log.error("the models cannot be loaded", exc_info=error)
            elif self.on_failure is None:
                log.error("the models cannot be loaded: %s", self.failure)
            if self.on_failure is not None:
                self.on_failure(self.failure)
            return
        if not self.draining:  # else loading may have ended early
            log.info("ready after %.1f s: %s", time.monotonic() - began, self.models)
            self._watching.append(asyncio.create_task(self.registry.watch()))

    def drain(self) -> None:
        """Refuse new requests; accepted ones have the drain time to finish. Safe to call from a signal handler."""
        if self.draining:
            return
        self.draining = True
        self._drain_ends = time.monotonic() + self.settings.drain_s
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._begin_drain, self._loop)

    def _begin_drain(self, loop: asyncio.AbstractEventLoop) -> None:
        # In the event loop and not in `drain`: a signal handler that logs may interrupt a message being written.
        loop.call_later(self.settings.drain_s, self._abandon)
        if self.failure is None:
            log.info("stopping: accepted requests have %g s to finish", self.settings.drain_s)

    def _abandon(self) -> None:
        if self.registry is not None:
            self.registry.abandon(Unavailable("the service is shutting down", retry_after=5, closing=True))

    async def stop(self) -> None:
        """Finish accepted requests within the drain time, then end the threads."""
        self.drain()
        if self._starting is not None:
            await asyncio.wait([self._starting], timeout=max(0.0, self._drain_ends - time.monotonic()))
            self._starting.cancel()
        if self.registry is not None:
            await self.registry.stop(self._drain_ends)
        for watching in self._watching:
            watching.cancel()
        if self.failure is None and self.broken is None:
            log.info("stopped")

    @contextmanager
    def drain_on_signals(self) -> Iterator[None]:
        """Drain as soon as SIGTERM or SIGINT arrives, then call the server's own handler.

        The server closes its sockets and waits for open requests before it ends the app's lifespan; without this
        hook /ready would succeed meanwhile. Only the main thread can handle signals; in others (tests) this is a no-op.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def handle(number: int, frame: FrameType | None) -> None:
            self.drain()
            server = before[number]
            if callable(server):
                server(number, frame)

        for number, server in before.items():
            if callable(server):
                signal.signal(number, handle)
        try:
            yield
        finally:
            for number, server in before.items():
                if signal.getsignal(number) is handle:
                    signal.signal(number, server)
