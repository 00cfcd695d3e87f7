"""OpenTelemetry traces of requests and of their stages, if the extra `otel` is installed.

The attributes are route, method and status. Neither the path, which may contain an image's name,
nor the query is sent.
"""

import os
import time
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clip_assets.errors import SettingsError

from .middleware.admission import since_arrival

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_CONTEXT = (b"traceparent", b"tracestate")
_FAULTS = 500

_of_this_request: "ContextVar[Tracer | None]" = ContextVar("tracer", default=None)


def provider() -> "TracerProvider | None":
    """A provider that sends spans, in its own thread, to the endpoint in OpenTelemetry's variables;
    None if they name no endpoint.

    Raises SettingsError if they name one but the packages are missing.
    """
    if not any(map(os.environ.get, _ENDPOINTS)):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            "An OpenTelemetry endpoint is set, but its packages are missing: install "
            "clip-assets[otel], or unset it."
        ) from error
    named = (
        {"service.name": "clip-assets-search"} if not os.environ.get("OTEL_SERVICE_NAME") else {}
    )
    made = TracerProvider(resource=Resource.create(named))
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made


def stage(name: str) -> AbstractContextManager[Any]:
    """A child span of the current request; does nothing if the request is not traced."""
    tracer = _of_this_request.get()
    return tracer.start_as_current_span(name) if tracer else nullcontext()


class Traced:
    """Makes each request a span that starts when the request arrived, a child of the span in its
    `traceparent`."""

    def __init__(self, app: ASGIApp, spans: "TracerProvider") -> None:
        self._app = app
        self._tracer = spans.get_tracer("clip_assets.serving")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, StatusCode

        sent = {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _CONTEXT
        }
        arrived = time.time_ns() - int(since_arrival(scope) * 1e9)
        method = scope["method"]
        with self._tracer.start_as_current_span(
            method, extract(sent), SpanKind.SERVER, {"http.request.method": method},
            start_time=arrived,
        ) as span:  # fmt: skip
            self._tracer.start_span("event loop", start_time=arrived).end()

            async def send_noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= _FAULTS:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            _of_this_request.set(self._tracer)
            await self._app(scope, receive, send_noted)
            if route := getattr(scope.get("route"), "path", None):
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
        return None
