"""The files in service: found, loaded, replaced and removed while requests are answered.

    folder --look--> what is new and not being written any more --describe, load, warm up--> Models, the new view
    a request holds the view that it began with; a model is closed when no held view has it

All state belongs to the event loop. Whatever takes time (reading, loading, warming up, closing) runs in a thread of its
own, each with a bound on its time; one model is loaded at a time.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from nmt.errors import NMTError
from service.errors import ServiceError, Unavailable
from service.metrics import Metrics
from service.models import Description, Model, ModelFile, Models, Stamp, State, newest_first
from service.settings import Settings, SettingsError

log = logging.getLogger("service")

T = TypeVar("T")
SETTLE_S = 0.5  # between the two looks of a reload at once
ROOM_S = 5.0  # that a model waits for another to become idle, when there is no room for both
RETRY_S = 30.0  # after which a model that could not be loaded on demand is tried again
CLOSE_S = 5.0  # for the threads of a closed model to end


class Source(Protocol):
    """Where models come from (service.loading.Folder). Its functions are called in threads."""

    def look(self) -> Mapping[str, Stamp]:
        """Return what is there now, by name. Raises SettingsError or OSError if that is nothing."""
        ...

    def describe(self, name: str) -> Description:
        """Read a file's description, checking the file for damage. Raises NMTError."""
        ...

    def load(self, name: str) -> Model:
        """Load a model, with its threads started. Raises NMTError."""
        ...

    def freed(self) -> None:
        """Return the memory of models that were closed to the system."""
        ...


@dataclass
class Changes:
    """What a reload did, by name. failed: with reasons."""

    loaded: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A file that is there and cannot be used."""

    stamp: Stamp
    error: Exception
    reason: str


class Registry:
    """The files in service. ``stopped`` returns True once no more are to be loaded."""

    def __init__(
        self, source: Source, settings: Settings, metrics: Metrics, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        self.models: Models | None = None  # the view for new requests; None until the start is over
        self.failures: dict[str, Failure] = {}
        self._source = source
        self._settings = settings
        self._metrics = metrics
        self._stopped = stopped
        self._files: dict[str, ModelFile] = {}
        self._draining: list[ModelFile] = []  # replaced or removed, and not closed yet
        self._held: list[Models] = []  # former views that requests still hold
        self._seen: Mapping[str, Stamp] = {}
        self._problem = ""  # of the last look at the folder
        self._loading = asyncio.Lock()
        self._reloading = asyncio.Lock()
        self._idle = asyncio.Event()  # set when a request has left a model
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what requests use --------------------------------------------------------------------------------------

    @asynccontextmanager
    async def use(self, file: ModelFile) -> AsyncIterator[Model]:
        """See `ModelFile.use`."""
        if file.model is None:
            file = self._files.get(file.name, file)  # it may have been replaced before this request came to it
        if file.model is None and file.users >= self._settings.queue:
            raise Unavailable(f"too many requests wait for the model {file.name}, try again later", retry_after=5)
        file.users += 1
        try:
            yield file.model or await self._on_demand(file)
        finally:
            file.users -= 1
            file.last_used = time.monotonic()
            if not file.users:
                self._idle.set()
                self._close_unheld()

    def loaded(self) -> list[Model]:
        """Return all models in memory, those of replaced files too."""
        return [file.model for file in (*self._files.values(), *self._draining) if file.model is not None]

    def listed(self) -> list[dict[str, Any]]:
        """Return what `GET /models` says: the files in service, those that drain, and those that cannot be used."""
        models = self.models
        assert models is not None, "not started"
        failed = [
            {"name": name, "pairs": [], "default_for": [], "state": str(State.FAILED), "error": failure.reason}
            for name, failure in self.failures.items()
            if name not in self._files
        ]
        return [*models.listed(), *(file.listed() for file in self._draining), *failed]

    def abandon(self, error: ServiceError) -> None:
        """End all requests with an error, also those that wait for a model."""
        for file in (*self._files.values(), *self._draining):
            if file.loading is not None and not file.loading.done():
                file.loading.set_exception(error)
            if file.model is not None:
                file.model.worker.abandon(error)

    # --- the folder ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read all files, and load them unless that is to wait for a request. Raises an error if none can be used."""
        self._seen = await self._in_thread(self._source.look)
        await self._take(self._seen, Changes())
        if not self._files and not self._stopped():
            errors = [failure.error for failure in self.failures.values()]
            if len(errors) == 1:
                raise errors[0]
            raise SettingsError(f"none of {len(errors)} files in {self._settings.models} can be used: {errors[0]}")
        for name in self.failures:
            self._log_failure(name)
        models = await self._view()
        await self._in_thread(_freeze)
        self._switch(models)

    async def watch(self) -> None:
        """Look for changes again and again."""
        while self._settings.reload_s and not self._stopped():
            await asyncio.sleep(self._settings.reload_s)
            try:
                await self.reload()
            except Exception as error:
                if str(error) != self._problem:  # not every few seconds
                    self._problem = str(error)
                    log.error("the models in service stay: %s", error, exc_info=not _is_ours(error))

    async def reload(self, *, at_once: bool = False) -> Changes:
        """Take new files into service and missing ones out of it; return the changes.

        A file counts as it is when two looks found the same: the last one and this one, or with ``at_once`` two with a
        short time between them; then failed files are tried again, too. Raises SettingsError or OSError if no file is
        there: then all models stay.
        """
        async with self._reloading:
            if at_once:
                self._seen = await self._in_thread(self._source.look)
                await asyncio.sleep(SETTLE_S)
            before, self._seen = self._seen, await self._in_thread(self._source.look)
            self._problem = ""
            changes = Changes()
            if at_once:
                self._forget_failures()
                changes.failed |= {
                    name: "is being written" for name in self._seen if before.get(name) != self._seen[name]
                }
            await self._take({name: stamp for name, stamp in self._seen.items() if before.get(name) == stamp}, changes)
            await self._drop({name for name in self._files if name not in self._seen and name not in before}, changes)
            for name in [name for name in self.failures if name not in self._seen]:
                del self.failures[name]
            return changes

    async def _take(self, stamps: Mapping[str, Stamp], changes: Changes) -> None:
        """Take those of these files into service that are new, the newest first."""
        new: list[ModelFile] = []
        for name, stamp in stamps.items():
            if stamp in [known.stamp for known in (self._files.get(name), self.failures.get(name)) if known]:
                continue
            try:
                description = await self._in_thread(partial(self._source.describe, name))
            except Exception as error:
                self._note_failure(name, stamp, error, changes)
                continue
            old = self._files.get(name)
            if old is not None and old.description.digest == description.digest:
                old.stamp = stamp  # touched, or copied once more
                self._forget_failure(name)
            else:
                new.append(ModelFile(description, stamp, self))
        for file in newest_first(new):
            if self._stopped():
                return
            await self._put(file, changes)

    async def _put(self, file: ModelFile, changes: Changes) -> None:
        """Take a file into service, loaded where its predecessor is, or where all are."""
        old = self._files.get(file.name)
        if (old is not None and old.model is not None) or (not self._settings.lazy and self._has_room()):
            try:
                async with self._loading:
                    await self._load(file)
            except Exception as error:
                self._note_failure(file.name, file.stamp, error, changes)
                return
        self._forget_failure(file.name)
        self._files[file.name] = file
        changes.loaded.append(file.name)
        if old is not None:
            self._retire(old)
        if self.models is not None:
            log.info("%s is in service, exported %s", file.name, file.description.exported)
            self._switch(await self._view())

    async def _drop(self, names: set[str], changes: Changes) -> None:
        for name in sorted(names):
            log.info("%s is not in service any more: its file is gone", name)
            changes.removed.append(name)
            self._retire(self._files.pop(name))
        if names:
            self._switch(await self._view())

    def _retire(self, file: ModelFile) -> None:
        self._draining.append(file)
        if file.state is State.READY:
            file.state = State.DRAINING

    async def _view(self) -> Models:
        files = [self._files[name] for name in sorted(self._files)]
        models = Models(files, pivot=self._settings.pivot, released=self._close_unheld)
        await self._in_thread(models.load_detector)
        return models

    def _switch(self, models: Models) -> None:
        """Make this the view for requests from now on."""
        if self.models is not None:
            self._held.append(self.models)
        self.models = models
        self._close_unheld()

    def _close_unheld(self) -> None:
        """Close the models that no request can use any more."""
        self._held = [models for models in self._held if models.users]
        views = [*self._held, *([self.models] if self.models is not None else [])]
        held = {file for models in views for file in models.files.values()}
        for file in list(self._draining):
            if file not in held and not file.users and file.state is not State.LOADING:
                self._draining.remove(file)
                self._start_task(self._unload(file))

    def _note_failure(self, name: str, stamp: Stamp, error: Exception, changes: Changes) -> None:
        reason = self._reason(error)
        self.failures[name] = Failure(stamp, error, reason)
        changes.failed[name] = reason
        if name in self._files:
            self._files[name].error = reason
        self._metrics.model_failures.labels(name).inc()
        if not _is_ours(error):
            log.error("%s cannot be loaded", name, exc_info=error)
        if self.models is not None:  # else it may be the error of the whole start
            self._log_failure(name)
        # Its traceback would keep the file's content and the model in memory.
        error.__traceback__ = error.__context__ = error.__cause__ = None

    def _log_failure(self, name: str) -> None:
        stays = ", the one in service stays" if name in self._files else ""
        log.error("%s is left out%s: %s", name, stays, self.failures[name].error)

    def _forget_failure(self, name: str) -> None:
        if self.failures.pop(name, None) is not None and name in self._files:
            self._files[name].error = ""

    def _forget_failures(self) -> None:
        for name in list(self.failures):
            self._forget_failure(name)
        for file in self._files.values():
            if file.state is State.FAILED:
                file.state, file.error = State.UNLOADED, ""

    def _reason(self, error: Exception) -> str:
        """Describe an error without internals, and without the folder."""
        if not _is_ours(error):
            return f"unexpected {type(error).__name__}"
        text = str(error)
        for folder in (self._settings.models, self._settings.models.parent):
            text = text.replace(f"{folder}/", "")
        return text

    # --- memory -------------------------------------------------------------------------------------------------

    async def _on_demand(self, file: ModelFile) -> Model:
        """Load the model of a file; all requests for it wait for one load."""
        if file.loading is None:
            if file.state is State.FAILED and time.monotonic() - file.failed_at < RETRY_S:
                raise Unavailable(f"the model {file.name} cannot be loaded: {file.error}", retry_after=int(RETRY_S))
            file.loading = asyncio.get_running_loop().create_future()
            file.loading.add_done_callback(lambda loading: loading.cancelled() or loading.exception())
            self._start_task(self._load_for_requests(file, file.loading))
        return await asyncio.shield(file.loading)

    async def _load_for_requests(self, file: ModelFile, loading: asyncio.Future[Model]) -> None:
        outcome: Model | ServiceError
        try:
            async with self._loading:
                await self._make_room(file)
                outcome = await self._load(file)
        except ServiceError as error:
            outcome = error
        except Exception as error:
            self._metrics.model_failures.labels(file.name).inc()
            log.error("%s cannot be loaded: %s", file.name, error, exc_info=None if _is_ours(error) else error)
            outcome = Unavailable(f"the model {file.name} cannot be loaded: {file.error}", retry_after=int(RETRY_S))
        finally:
            file.loading = None
        if not loading.done():
            loading.set_exception(outcome) if isinstance(outcome, ServiceError) else loading.set_result(outcome)
        self._close_unheld()  # it may have been replaced meanwhile

    async def _load(self, file: ModelFile) -> Model:
        """Load the model of a file and warm it up. Raises what goes wrong, and TimeoutError after ``load_s``."""
        file.state = State.LOADING
        model: Model | None = None
        try:
            async with asyncio.timeout(self._settings.load_s) as limit:
                model = await in_thread(partial(self._source.load, file.name), discard=_close)
                if model.description.pairs != file.description.pairs:
                    raise SettingsError("its file has changed")
                await in_thread(model.warm_up)
        except BaseException as error:
            if model is not None:
                model.worker.give_up("it was not warmed up")
                self._start_task(self._in_thread(partial(_close, model)))
            if isinstance(error, TimeoutError) and limit.expired():
                error = SettingsError(f"not loaded and warmed up within {self._settings.load_s:g} s (--load-s)")
            file.state, file.error = State.FAILED, self._reason(error) if isinstance(error, Exception) else ""
            file.failed_at = time.monotonic()
            raise error
        file.model, file.description = model, model.description
        file.state, file.error = State.READY, ""
        if file in self._draining:
            file.state = State.DRAINING
        self._metrics.model_loads.labels(file.name).inc()
        return model

    def _has_room(self) -> bool:
        loaded = sum(file.model is not None for file in self._files.values())
        return not self._settings.max_loaded or loaded < self._settings.max_loaded

    async def _make_room(self, file: ModelFile) -> None:
        """Unload idle models, the least recently used first. Raises Unavailable if none becomes idle."""
        ends = asyncio.get_running_loop().time() + ROOM_S
        while not self._has_room():
            others = [other for other in self._files.values() if other.model is not None]
            if idle := [other for other in others if not other.users]:
                oldest = min(idle, key=lambda other: other.last_used)
                log.info("%s is unloaded, to make room for %s", oldest.name, file.name)
                await self._unload(oldest)
                continue
            self._idle.clear()
            try:
                async with asyncio.timeout_at(ends):
                    await self._idle.wait()
            except TimeoutError:
                busy = ", ".join(other.name for other in others)
                text = f"no room for the model {file.name} beside {busy}, try again later"
                raise Unavailable(text, retry_after=int(ROOM_S)) from None

    async def _unload(self, file: ModelFile) -> None:
        if file.model is None:
            return
        holder = [file.model]
        file.model, file.state = None, State.UNLOADED

        def close() -> None:
            _close(holder.pop())  # its last reference
            self._source.freed()

        del file
        await self._in_thread(close)

    # --- threads and tasks --------------------------------------------------------------------------------------

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await in_thread(work, self._settings.load_s)

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, ends: float) -> None:
        """End all threads; running work has until a time of time.monotonic() to finish."""
        try:
            async with asyncio.timeout(max(0.0, ends - time.monotonic())), self._reloading:
                await asyncio.gather(*self._tasks, return_exceptions=True)
        except TimeoutError:
            log.warning("a model is still being loaded")
        for model in self.loaded():
            await asyncio.to_thread(model.close, max(1.0, ends - time.monotonic()))


async def in_thread(
    work: Callable[[], T], timeout_s: float | None = None, discard: Callable[[T], object] = lambda _: None
) -> T:
    """Run ``work`` in a thread of its own. Raises TimeoutError; what nobody waits for any more goes to ``discard``.

    Unlike the threads of asyncio.to_thread, a hung one does not keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def end(error: BaseException | None, value: Any = None) -> None:
        if future.done():
            if error is None:
                threading.Thread(target=discard, args=[value], daemon=True).start()
        elif error is None:
            future.set_result(value)
        else:
            future.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    def run() -> None:
        outcome: tuple[Any, ...]
        try:
            outcome = None, work()
        except BaseException as error:
            outcome = (error,)
        try:
            loop.call_soon_threadsafe(end, *outcome)
        except RuntimeError:  # the loop is closed
            if len(outcome) == 2:
                discard(outcome[1])

    threading.Thread(target=run, name="loader", daemon=True).start()
    async with asyncio.timeout(timeout_s):
        return await future


def _close(model: Model) -> None:
    model.close(CLOSE_S)


def _is_ours(error: Exception) -> bool:
    return isinstance(error, NMTError | SettingsError | ServiceError)


def _freeze() -> None:
    """Keep the garbage collector from what is there now.

    Else it would go through it again and again, torch's hundred thousands of objects too, and all threads would wait:
    0.1 s each time. Only once, before the first request, whose garbage would be kept for good. A frozen model frees its
    memory all the same when its last reference is dropped, because it is in no reference cycle; a test holds that.
    """
    gc.collect()
    gc.freeze()
