"""An OTLP endpoint: what a collector would receive, and how a trace reads as text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

INDENT = "  "


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that arrive."""

    def __init__(self) -> None:
        self.target = ""
        self.requests: list[trace_service_pb2.ExportTraceServiceRequest] = []

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - as gRPC calls it
        """Take one batch."""
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[trace_pb2.Span]:
        """All spans that have arrived."""
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def trace(self, trace_id: str) -> list[trace_pb2.Span]:
        """Return the spans of one trace, as they began."""
        found = [span for span in self.spans if span.trace_id.hex() == trace_id]
        return sorted(found, key=lambda span: span.start_time_unix_nano)


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Run an endpoint."""
    collector = Collector()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.target = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(0)


def attributes(span: trace_pb2.Span) -> dict[str, Any]:
    """Return the attributes of a span as Python's values."""
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes
    }


def as_text(
    spans: list[trace_pb2.Span],
    varying: Mapping[str, str],
    usual: Mapping[str, Mapping[str, Any]],
) -> str:
    """Return a trace as indented text, with each attribute on a line of its own.

    `varying` names the attributes whose values differ from run to run, and what stands for them.
    `usual` are attributes of spans by the spans' names: where all are there, they are "as usual".
    """
    known = {span.span_id for span in spans}
    roots = [span for span in spans if span.parent_span_id not in known]
    return "\n".join(line for root in roots for line in _lines(root, spans, varying, usual, ""))


def _lines(
    span: trace_pb2.Span,
    spans: list[trace_pb2.Span],
    varying: Mapping[str, str],
    usual: Mapping[str, Mapping[str, Any]],
    indent: str,
) -> Iterator[str]:
    kind = trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower()
    error = f" ERROR {span.status.message}" if span.status.code else ""
    told = {name: varying.get(name, value) for name, value in attributes(span).items()}
    expected = usual.get(span.name, {})
    as_usual = bool(expected) and expected.items() <= told.items()
    yield f"{indent}{span.name} ({kind}{', as usual' if as_usual else ''}){error}"
    for name, value in sorted(told.items()):
        if not (as_usual and name in expected):
            yield f"{indent}{INDENT}{name}: {value}"
    for link in span.links:
        own = "this trace" if link.trace_id == span.trace_id else "another trace"
        yield f"{indent}{INDENT}link to {own}"
    for below in spans:
        if below.parent_span_id == span.span_id:
            yield from _lines(below, spans, varying, usual, indent + INDENT)
