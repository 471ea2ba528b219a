"""Prometheus metrics, with one registry per app. No label contains a client's address, key or text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Metrics of one app. The workers report through ``stepped`` and ``ended``."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("nmt_requests", "Answered requests", ["route", "method", "status"], registry=registry)
        self.latency = Histogram(
            "nmt_request_seconds", "Seconds from the start of a request to the end of its answer", ["route"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.characters = Counter("nmt_characters", "Characters of translated source text", registry=registry)
        self.segments = Counter("nmt_segments", "Segments translated", registry=registry)
        self.steps = Counter("nmt_steps", "Decoding steps of the engines", registry=registry)
        self.step_seconds = Counter("nmt_step_seconds", "Seconds spent in decoding steps", registry=registry)
        self.step_segments = Counter(
            "nmt_step_segments",
            "Sum over all steps of the segments in a step; divided by nmt_steps, the mean batch size",
            registry=registry,
        )
        self.restarts = Counter("nmt_engine_restarts", "Engines replaced after their thread ended", registry=registry)
        self.waiting = Gauge("nmt_waiting_segments", "Segments waiting for a slot", registry=registry)
        self.active = Gauge("nmt_active_segments", "Segments being translated", registry=registry)
        self.ready = Gauge("nmt_ready", "1 while the service accepts requests, else 0", registry=registry)
        self.model_loads = Counter("nmt_model_loads", "Models loaded and warmed up", ["model"], registry=registry)
        self.model_failures = Counter(
            "nmt_model_load_failures", "Files of models that could not be used", ["model"], registry=registry
        )

    def stepped(self, active: int, seconds: float) -> None:
        """Count a decoding step with ``active`` segments that took ``seconds``."""
        self.steps.inc()
        self.step_segments.inc(active)
        self.step_seconds.inc(seconds)

    def ended(self, segments: int) -> None:
        """Count translated segments."""
        self.segments.inc(segments)

    def restarted(self) -> None:
        """Count an engine that was replaced."""
        self.restarts.inc()

    def watch(self, waiting: Callable[[], float], active: Callable[[], float], ready: Callable[[], float]) -> None:
        """Set the functions that the gauges call for their present values."""
        self.waiting.set_function(waiting)
        self.active.set_function(active)
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
