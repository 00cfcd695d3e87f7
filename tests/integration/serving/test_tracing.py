"""Traces reach an OpenTelemetry collector, and tell it nothing of what was searched for."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests import web
from tests.integration.serving.support import Searchable, running, settings, wait_until_ready

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(HTTPServer):
    """Keeps what is sent to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receive)
        self.bodies: list[bytes] = []

    @property
    def spans(self) -> list[Span]:
        sent = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            span
            for one in sent
            for resource in one.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Receive(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as server:
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_search_is_a_trace_of_its_stages(searchable: Searchable, collector: Collector) -> None:
    """The caller's trace goes on in it. The spans have arrived once the service has ended."""
    with running(settings(searchable.dsn)) as url:
        wait_until_ready(url)
        web.get(
            f"{url}/v1/search?q=secret+cloud&k=1",
            headers={"traceparent": f"00-{TRACE}-{PARENT}-01"},
        ).raise_for_status()
    spans = [span for span in collector.spans if span.trace_id.hex() == TRACE]
    (whole,) = [span for span in spans if span.parent_span_id.hex() == PARENT]
    assert whole.name == "GET /v1/search"
    known = {pair.key: pair.value for pair in whole.attributes}
    assert known["http.response.status_code"].int_value == 200
    stages = {span.name for span in spans if span.parent_span_id == whole.span_id}
    assert stages == {"event loop", "encoder wait", "encoder", "database wait", "database"}
    assert not any(b"secret" in body for body in collector.bodies)
