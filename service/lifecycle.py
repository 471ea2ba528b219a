"""The service's life: loading, ready, draining, stopped, and what it answers while it is not ready.

loading --models loaded and warmed up--> ready --SIGTERM--> draining --all answered, or drain time over--> stopped
   \\--a model cannot be loaded--> failed
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

from service.errors import Unavailable
from service.metrics import Metrics
from service.models import Models
from service.settings import Settings

log = logging.getLogger("service")

Loader = Callable[[Settings, Metrics, Callable[[], bool]], Models]


def load_exported(settings: Settings, metrics: Metrics, stopped: Callable[[], bool]) -> Models:
    """The exported files of the settings. torch is imported here, after the server began to answer /health."""
    # The service has no NumPy, on purpose; torch says so each time.
    warnings.filterwarnings("ignore", "Failed to initialize NumPy", UserWarning)
    from service.loading import load_models

    return load_models(settings, metrics, stopped)


class Service:
    """State of one app. ``load`` builds the models, in a thread of its own; it may ask whether to give up."""

    def __init__(self, settings: Settings, metrics: Metrics, load: Loader) -> None:
        self.settings = settings
        self.metrics = metrics
        self.models: Models | None = None
        self.failure: str | None = None
        self.draining = False
        self.on_failure: Callable[[str], None] | None = None  # told when the models cannot be loaded
        self._load = load
        self._loader = threading.Thread(target=self._load_models, name="loader", daemon=True)
        self._drain_ends = 0.0  # time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        metrics.watch(
            waiting=lambda: sum(model.worker.waiting for model in self.models or ()),
            active=lambda: sum(model.worker.active for model in self.models or ()),
            ready=lambda: float(self.not_ready() is None),
        )

    # --- what it answers ----------------------------------------------------------------------------------------

    def not_ready(self) -> str | None:
        """Why no request is taken at present, or None."""
        if self.unhealthy():
            return "the service cannot translate"
        if self.draining:
            return "the service is shutting down"
        return "the models are loading" if self.models is None else None

    def unhealthy(self) -> str | None:
        """What is broken for good, or None: a restart is the remedy."""
        if self.failure is not None:
            return f"the models could not be loaded: {self.failure}"
        dead = [model.worker for model in self.models or () if not model.worker.alive]
        return None if self.draining or not dead else f"{dead[0].name} has stopped: {dead[0].failure}"

    def require(self) -> Models:
        """The models. Raises Unavailable unless ready."""
        reason = self.not_ready()
        if reason is not None or self.models is None:
            raise Unavailable(f"{reason}, try again later", retry_after=5, closing=self.draining)
        return self.models

    # --- its life -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to load; returns at once, so that /health answers while the models are loading."""
        self._loop = asyncio.get_running_loop()
        self._loader.start()

    def _load_models(self) -> None:
        began = time.monotonic()
        try:
            models = self._load(self.settings, self.metrics, lambda: self.draining)
        except Exception as error:
            self.failure = str(error) or type(error).__name__
            # A user's error is one line; anything else is ours, and wants its traceback.
            log.error("models: %s", self.failure, exc_info=None if is_user_error(error) else error)
            if self.on_failure is not None:
                self.on_failure(self.failure)
            return
        self.models = models
        log.info("ready after %.1f s: %s", time.monotonic() - began, models)

    def drain(self) -> None:
        """Take no more requests; those accepted have the drain time to finish. Safe in a signal handler."""
        if self.draining:
            return
        self.draining = True
        self._drain_ends = time.monotonic() + self.settings.drain_s
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.call_later, self.settings.drain_s, self._give_up)

    def _give_up(self) -> None:
        for model in self.models or ():
            model.worker.abandon(Unavailable("the service is shutting down", retry_after=5, closing=True))

    async def stop(self) -> None:
        """Finish what was accepted, within the drain time, and end the threads."""
        self.drain()
        left = max(0.0, self._drain_ends - time.monotonic())
        await asyncio.to_thread(self._loader.join, left)
        for model in self.models or ():
            await asyncio.to_thread(model.close, max(1.0, self._drain_ends - time.monotonic()))

    @contextmanager
    def drain_on_signals(self) -> Iterator[None]:
        """Drain as soon as SIGTERM or SIGINT comes, then do what the server does about it.

        The server first closes its sockets and waits for open requests, and only then tells the app; without this
        hook /ready would stay green meanwhile. Signals belong to the main thread: elsewhere (tests) nothing is done.
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


def is_user_error(error: BaseException) -> bool:
    """Whether an error is one that the user can mend: all of ours and nmt's are."""
    return any(kind.__name__ in ("NMTError", "SettingsError") for kind in type(error).__mro__)
