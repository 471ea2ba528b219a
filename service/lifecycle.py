"""States of the service: loading, ready, draining, stopped or failed.

loading --models loaded and warmed up--> ready --SIGTERM--> draining --all answered, or drain time over--> stopped
   \\--a model cannot be loaded--> failed        \\--a step hangs, or engines fail again and again--> failed
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
from types import FrameType
from typing import Any

from nmt.errors import NMTError
from service.errors import Unavailable
from service.metrics import Metrics
from service.models import Models
from service.settings import Settings, SettingsError

log = logging.getLogger("service")

WATCH_S = 1.0  # seconds between two looks at the workers, at most

Loader = Callable[[Settings, Metrics, Callable[[], bool]], Models]


def load_exported(settings: Settings, metrics: Metrics, stopped: Callable[[], bool]) -> Models:
    """Load the models of the settings. torch is imported only here, after the server began to answer /health."""
    # torch warns that NumPy is missing; the service does not need it.
    warnings.filterwarnings("ignore", "Failed to initialize NumPy", UserWarning)
    from service.loading import load_models

    return load_models(settings, metrics, stopped)


class Service:
    """State of one app. A thread of its own calls ``load``, whose last argument returns True once it should end."""

    def __init__(self, settings: Settings, metrics: Metrics, load: Loader) -> None:
        self.settings = settings
        self.metrics = metrics
        self.models: Models | None = None
        self.failure: str | None = None
        self.broken: str | None = None  # why it cannot translate any more, though its models were loaded
        self.draining = False
        self.on_failure: Callable[[str], None] | None = None  # called if the models cannot be loaded, or it is broken
        self._load = load
        self._loader = threading.Thread(target=self._load_models, name="loader", daemon=True)
        self._drain_ends = 0.0  # time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watching: asyncio.Task[None] | None = None
        metrics.watch(
            workers=lambda: [model.worker for model in self.models or ()],
            ready=lambda: float(self.not_ready() is None),
        )

    # --- state --------------------------------------------------------------------------------------------------

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
        dead = [model.worker for model in self.models or () if not model.worker.alive]
        return None if self.draining or not dead else f"{dead[0].name} has stopped: {dead[0].failure}"

    def require(self) -> Models:
        """Return the models. Raises Unavailable unless the service is ready."""
        reason = self.not_ready()
        if reason is not None or self.models is None:
            why = "draining" if self.draining else ""
            raise Unavailable(f"{reason}, try again later", retry_after=5, closing=self.draining, reason=why)
        return self.models

    # --- transitions --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start loading and return at once, so that /health is answered while the models load."""
        self._loop = asyncio.get_running_loop()
        self._loader.start()
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """Look for a hung step and a dead worker, and then end the service: only a restart of the process helps."""
        while self.broken is None:
            await asyncio.sleep(min(WATCH_S, self.settings.hang_s / 4))
            for model in self.models or ():
                if model.worker.hung(self.settings.hang_s):
                    model.worker.give_up(f"a step did not end within {self.settings.hang_s:g} s")
                if model.worker.failure is not None:
                    self.broken = f"{model.worker.name} has stopped: {model.worker.failure}"
        log.critical("%s", self.broken)
        if self.on_failure is not None:
            self.on_failure(self.broken)

    def _load_models(self) -> None:
        began = time.monotonic()
        try:
            models = self._load(self.settings, self.metrics, lambda: self.draining)
        except Exception as error:
            self.failure = str(error) or type(error).__name__
            if not isinstance(error, NMTError | SettingsError):
                log.error("the models cannot be loaded", exc_info=error)
            elif self.on_failure is None:
                log.error("the models cannot be loaded: %s", self.failure)
            if self.on_failure is not None:
                self.on_failure(self.failure)
            return
        self.models = models
        if not self.draining:  # else loading may have ended early
            log.info("ready after %.1f s: %s", time.monotonic() - began, models)

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
        for model in self.models or ():
            model.worker.abandon(Unavailable("the service is shutting down", retry_after=5, closing=True))

    async def stop(self) -> None:
        """Finish accepted requests within the drain time, then end the threads."""
        if self._watching is not None:
            self._watching.cancel()
        self.drain()
        left = max(0.0, self._drain_ends - time.monotonic())
        await asyncio.to_thread(self._loader.join, left)
        for model in self.models or ():
            await asyncio.to_thread(model.close, max(1.0, self._drain_ends - time.monotonic()))
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
