"""Sends spans to an OTLP endpoint, by OpenTelemetry's exporter and its environment variables.

Decides how spans become messages, and how long a shutdown waits for an endpoint.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import SpanContext, SpanKind

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# How many spans wait for an endpoint: the SDK's own default.
WAITING: Final = 2048
# How long a shutdown waits for an endpoint that does not answer.
CLOSE_SECONDS: Final = 5.0
KINDS: Final = {
    SpanKind.INTERNAL: trace_pb2.Span.SPAN_KIND_INTERNAL,
    SpanKind.SERVER: trace_pb2.Span.SPAN_KIND_SERVER,
    SpanKind.CLIENT: trace_pb2.Span.SPAN_KIND_CLIENT,
    SpanKind.PRODUCER: trace_pb2.Span.SPAN_KIND_PRODUCER,
    SpanKind.CONSUMER: trace_pb2.Span.SPAN_KIND_CONSUMER,
}
log = structlog.get_logger()

REMOTE_IS_KNOWN: Final = trace_pb2.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
REMOTE: Final = trace_pb2.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


def processors(environment: Mapping[str, str]) -> tuple[SpanProcessor, ...]:
    """Return what sends spans in batches to the endpoint of the environment, if it has one."""
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or not any(environment.get(name) for name in ENDPOINTS):
        return ()
    waiting = environment.get("OTEL_BSP_MAX_QUEUE_SIZE", "")
    return (Sending(int(waiting) if waiting.isdigit() else WAITING),)


class Sending(BatchSpanProcessor):
    """Sends spans from a thread of its own. At most `waiting` wait; what is more is counted.

    The SDK counts, too, in a log record for each lost span: ten times what a sent one costs.
    """

    def __init__(self, waiting: int = WAITING, close_seconds: float = CLOSE_SECONDS) -> None:
        self._exporter = _Exporter()
        super().__init__(self._exporter, max_queue_size=waiting)
        self._waiting = waiting
        self._close_seconds = close_seconds
        self._taken = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span that has ended. Never waits."""
        if self._taken - self._exporter.sent >= self._waiting:
            self._exporter.lost += 1
            return
        self._taken += 1
        super().on_end(span)

    @property
    def lost(self) -> int:
        """How many spans found no place."""
        return self._exporter.lost

    def shutdown(self) -> None:
        """Send what waits, and give up soon: the SDK would wait for half a minute."""
        timer = threading.Timer(self._close_seconds, self._exporter.shutdown)
        timer.daemon = True
        timer.start()
        super().shutdown()  # type: ignore[no-untyped-call]
        timer.cancel()


class _Exporter(OTLPSpanExporter):
    """Encodes spans in a fifth of the time that the SDK takes for it, or less.

    It runs in a thread of its own, but takes the interpreter from the thread that serves.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.lost = 0
        self._told = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch, and say what was lost before it."""
        self.sent += len(spans)
        lost = self.lost
        if lost > self._told:
            log.warning("spans lost", count=lost - self._told)
            self._told = lost
        return super().export(spans)

    def _translate_data(self, data: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
        return request_of(data)


def request_of(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """Return the request that exports the spans, which are all of one resource and scope."""
    request = encode_spans(spans[:1])
    encoded = request.resource_spans[0].scope_spans[0].spans
    for span in spans[1:]:
        _encode(span, encoded.add())
    return request


def _encode(span: ReadableSpan, into: Any) -> None:
    context: Any = span.context
    into.trace_id = context.trace_id.to_bytes(16)
    into.span_id = context.span_id.to_bytes(8)
    into.name = span.name
    into.kind = KINDS[span.kind]
    into.start_time_unix_nano = span.start_time or 0
    into.end_time_unix_nano = span.end_time or 0
    into.flags = _flags(span.parent)
    into.status.code = span.status.status_code.value
    if span.parent is not None:
        into.parent_span_id = span.parent.span_id.to_bytes(8)
    if context.trace_state:
        into.trace_state = context.trace_state.to_header()
    if span.status.description:
        into.status.message = span.status.description
    for link in span.links:
        into.links.add(
            trace_id=link.context.trace_id.to_bytes(16),
            span_id=link.context.span_id.to_bytes(8),
            flags=_flags(link.context),
        )
    for name, value in (span.attributes or {}).items():
        pair = into.attributes.add()
        pair.key = name
        _set(pair.value, value)


def _set(into: Any, value: object) -> None:
    # A bool is an int, too.
    if isinstance(value, str):
        into.string_value = value
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, int):
        into.int_value = value
    else:
        into.double_value = value


def _flags(context: SpanContext | None) -> int:
    return REMOTE_IS_KNOWN | (REMOTE if context is not None and context.is_remote else 0)
