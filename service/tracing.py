"""A span for each request, for OpenTelemetry: the extra `otel`, used where OTEL_EXPORTER_OTLP_ENDPOINT is set.

OpenTelemetry's own variables (OTEL_...) hold for it. FastAPI's spans are off, because they have the query string, which
may contain texts and keys.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from service.context import Context
from service.settings import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
CLOSE_S = 5.0  # for the last spans to be sent


class Tracer:
    """Records spans with a provider, which sends them in a thread of its own and drops those that are too many."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("service")
        self._propagator = TraceContextTextMapPropagator()

    def record(
        self, headers: Mapping[str, str], context: Context, route: str, method: str, status: int, seconds: float
    ) -> None:
        """Record a request that has been answered; the header `traceparent` names the span that it belongs to."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        ended = time.time_ns()
        span = self._tracer.start_span(
            f"{method} {route}",
            self._propagator.extract({name: headers[name] for name in self._propagator.fields if name in headers}),
            SpanKind.SERVER,
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "nmt.request_id": context.id,
                "nmt.segments": context.segments,
                "nmt.pieces": context.pieces,
                **({"error.type": context.reason} if context.reason else {}),
            },
            start_time=ended - int(seconds * 1e9),
        )
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended)

    def close(self) -> None:
        """Send the last spans, within bounds."""
        thread = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        thread.start()
        thread.join(CLOSE_S)


def make_tracer() -> Tracer | None:
    """Return a tracer if the environment asks for one. Raises SettingsError if OpenTelemetry is not installed."""
    if not os.environ.get(ENDPOINT):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        remedy = "run this in the project's folder: pip install -e '.[otel]'"
        raise SettingsError(f"{ENDPOINT} is set, but {error.name} is not installed; {remedy}") from None
    name = os.environ.get("OTEL_SERVICE_NAME", "translation")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracer(provider)
