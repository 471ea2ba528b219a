"""Prometheus metrics, with one registry per app. No label contains a client's address, key or text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.context import Context, begin, current

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Load(Protocol):
    """What the gauges show of a worker (service.worker.Worker)."""

    @property
    def waiting(self) -> int: ...
    @property
    def waiting_pieces(self) -> int: ...
    @property
    def active(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def rows_in_use(self) -> int: ...


class Metrics:
    """Metrics of one app. The workers report through ``stepped``, ``ended``, ``started`` and ``answered``."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def histogram(name: str, text: str, labels: Sequence[str] = ()) -> Histogram:
            return Histogram(name, text, labels, buckets=SECONDS, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, registry=registry)

        self.requests = counter("nmt_requests", "Answered requests", ["route", "method", "status"])
        self.latency = histogram(
            "nmt_request_seconds", "Seconds from the start of a request to the end of its answer", ["route"]
        )
        self.refusals = counter("nmt_refusals", "Requests that were answered with an error, by reason", ["reason"])
        self.characters = counter("nmt_characters", "Characters of translated source text")
        self.segments = counter("nmt_segments", "Segments translated")
        self.pieces = counter("nmt_pieces", "Subword pieces of translated segments, source or target", ["side"])
        self.steps = counter("nmt_steps", "Decoding steps of the engines")
        self.step_seconds = counter("nmt_step_seconds", "Seconds spent in decoding steps")
        self.step_segments = counter(
            "nmt_step_segments",
            "Sum over all steps of the segments in a step; divided by nmt_steps, the mean batch size",
        )
        self.step_rows = counter(
            "nmt_step_rows", "Sum over all steps of the rows in use; divided by nmt_steps, the mean fill of an engine"
        )
        self.first_step = histogram(
            "nmt_first_step_seconds", "Seconds that the segments of a request wait until the first has a slot"
        )
        self.last_step = histogram("nmt_last_step_seconds", "Seconds until the last segment of a request is translated")
        self.restarts = counter("nmt_engine_restarts", "Engines replaced after their thread ended")
        self.waiting = gauge("nmt_waiting_segments", "Segments waiting for a slot")
        self.waiting_pieces = gauge("nmt_waiting_pieces", "Source pieces of the segments waiting for a slot")
        self.active = gauge("nmt_active_segments", "Segments being translated")
        self.rows = gauge("nmt_rows", "Rows of all engines: hypotheses that can be extended together")
        self.rows_in_use = gauge("nmt_rows_in_use", "Rows in use")
        self.ready = gauge("nmt_ready", "1 while the service accepts requests, else 0")
        ProcessCollector(registry=registry)
        self.model_loads = counter("nmt_model_loads", "Models loaded and warmed up", ["model"])
        self.model_failures = counter("nmt_model_load_failures", "Files of models that could not be used", ["model"])

    def stepped(self, active: int, rows: int, seconds: float) -> None:
        """Count a decoding step with ``active`` segments in so many rows that took ``seconds``."""
        self.steps.inc()
        self.step_segments.inc(active)
        self.step_rows.inc(rows)
        self.step_seconds.inc(seconds)

    def ended(self, segments: int, source_pieces: int, target_pieces: int) -> None:
        """Count translated segments."""
        self.segments.inc(segments)
        self.pieces.labels("source").inc(source_pieces)
        self.pieces.labels("target").inc(target_pieces)

    def started(self, seconds: float) -> None:
        """Count a job whose first segment got a slot so long after its arrival."""
        self.first_step.observe(seconds)

    def answered(self, seconds: float) -> None:
        """Count a job whose last segment was translated so long after its arrival."""
        self.last_step.observe(seconds)

    def restarted(self) -> None:
        """Count an engine that was replaced."""
        self.restarts.inc()

    def refused(self, reason: str) -> None:
        """Count the running request as refused; the reason is one of a fixed set."""
        current().reason = reason
        self.refusals.labels(reason).inc()

    def watch(self, workers: Callable[[], Sequence[Load]], ready: Callable[[], float]) -> None:
        """Set the functions that the gauges call for their present values."""

        def total(name: str) -> Callable[[], float]:
            return lambda: float(sum(getattr(worker, name) for worker in workers()))

        self.waiting.set_function(total("waiting"))
        self.waiting_pieces.set_function(total("waiting_pieces"))
        self.active.set_function(total("active"))
        self.rows.set_function(total("rows"))
        self.rows_in_use.set_function(total("rows_in_use"))
        self.ready.set_function(ready)

    def watch_models(self, states: Callable[[], Iterable[tuple[str, float, float, float]]]) -> None:
        """Set the function that returns each model's name, 1 if it is loaded, its waiting and its active segments."""
        names = {
            "nmt_model_loaded": "1 while the model is in memory, else 0",
            "nmt_model_waiting_segments": "Segments waiting for a slot",
            "nmt_model_active_segments": "Segments being translated",
        }

        class Models(Collector):
            def collect(self) -> Iterable[GaugeMetricFamily]:
                families = [GaugeMetricFamily(name, text, labels=["model"]) for name, text in names.items()]
                for model, *values in states():
                    for family, value in zip(families, values, strict=True):
                        family.add_metric([model], value)
                return families

        self.registry.register(Models())

    def page(self) -> bytes:
        """Return all values in Prometheus' text format."""
        return generate_latest(self.registry)


class MetricsMiddleware:
    """Count and time requests. Pure ASGI, because Starlette's BaseHTTPMiddleware hides a client's disconnect."""

    def __init__(self, app: ASGIApp, metrics: Metrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self.app = app
        self.metrics = metrics
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = self.clock()
        begin(Context())
        status = 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, note_status)
        finally:
            # The route's pattern, not the path: a client could fill the memory with label values.
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in ("GET", "POST", "OPTIONS", "HEAD") else "other"
            self.metrics.requests.labels(route, method, str(status)).inc()
            self.metrics.latency.labels(route).observe(self.clock() - began)
