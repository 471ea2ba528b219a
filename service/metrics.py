"""Prometheus metrics; a registry of its own for each app. No client addresses, keys or texts in any label."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counters of one app; the worker reports through ``stepped`` and ``ended``."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("nmt_requests", "Answered requests", ["route", "method", "status"], registry=registry)
        self.latency = Histogram(
            "nmt_request_seconds", "Seconds from a request's start to the end of its answer", ["route"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.characters = Counter("nmt_characters", "Characters of source text accepted", registry=registry)
        self.segments = Counter("nmt_segments", "Segments translated", registry=registry)
        self.steps = Counter("nmt_steps", "Steps of the engines", registry=registry)
        self.step_seconds = Counter("nmt_step_seconds", "Seconds spent in steps", registry=registry)
        self.step_segments = Counter(
            "nmt_step_segments",
            "Segments in each step, summed: divided by the steps, the mean batch",
            registry=registry,
        )
        self.waiting = Gauge("nmt_waiting_segments", "Segments that wait for a slot", registry=registry)
        self.active = Gauge("nmt_active_segments", "Segments in the engines", registry=registry)
        self.ready = Gauge("nmt_ready", "1 when the service takes requests", registry=registry)

    def stepped(self, active: int, seconds: float) -> None:
        """A step with so many segments took so long."""
        self.steps.inc()
        self.step_segments.inc(active)
        self.step_seconds.inc(seconds)

    def ended(self, segments: int) -> None:
        """So many segments are translated."""
        self.segments.inc(segments)

    def watch(self, waiting: Callable[[], float], active: Callable[[], float], ready: Callable[[], float]) -> None:
        """Where the gauges read their values when they are asked for."""
        self.waiting.set_function(waiting)
        self.active.set_function(active)
        self.ready.set_function(ready)

    def page(self) -> bytes:
        """All values in Prometheus' text format."""
        return generate_latest(self.registry)


class MetricsMiddleware:
    """Counts and times requests. Pure ASGI: behind Starlette's BaseHTTPMiddleware a disconnect is never seen."""

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
            # The route's pattern, not the path: a label of which a client can make any number is a leak.
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in ("GET", "POST", "OPTIONS", "HEAD") else "other"
            self.metrics.requests.labels(route, method, str(status)).inc()
            self.metrics.latency.labels(route).observe(self.clock() - began)
