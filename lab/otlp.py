"""A receiver of OpenTelemetry's protocol over HTTP, which keeps what it is sent."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

Attributes = dict[str, str | int]


class Receiver:
    """What has been received."""

    def __init__(self, url: str) -> None:
        """Begin with nothing; `url` is where to send it."""
        self.url = url
        self.services: set[str | int] = set()
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}

    def span(self, name: str) -> Any:
        """Return the last span of that name."""
        return [span for span in self.spans if span.name == name][-1]

    def take(self, path: str, body: bytes) -> None:
        """Keep the spans, and of each metric what was sent last."""
        if path == "/v1/traces":
            for part in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.services.add(attributes(part.resource)["service.name"])
                for scope in part.scope_spans:
                    self.spans += scope.spans
        elif path == "/v1/metrics":
            for part in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in part.scope_metrics:
                    self.metrics |= {metric.name: metric for metric in scope.metrics}


def attributes(holder: Any) -> Attributes:
    """Return the attributes of a span, a resource or a measurement."""
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value"))
        for each in holder.attributes
    }


@contextmanager
def otlp_receiver() -> Iterator[Receiver]:
    """Receive on a port of the loopback device."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            receiver.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
    Thread(target=server.serve_forever, daemon=True).start()
    yield receiver
    server.shutdown()
    server.server_close()
