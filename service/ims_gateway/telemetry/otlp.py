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
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import SpanContext

from ims_gateway.telemetry.encoding import encoded
from ims_gateway.telemetry.providers import SERVICE
from ims_gateway.telemetry.spans import SAMPLED, SCOPE, Facts

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# How many spans wait for an endpoint: the SDK's own default.
WAITING: Final = 2048
# How long a shutdown waits for an endpoint that does not answer.
CLOSE_SECONDS: Final = 5.0
# Of any span whose call was sampled, or kept although it was not; batches take no other.
WANTED: Final = SpanContext(1, 1, is_remote=False, trace_flags=SAMPLED)

log = structlog.get_logger()


def processors(environment: Mapping[str, str]) -> tuple[Sending, ...]:
    """Return what sends spans in batches to the endpoint of the environment, if it has one."""
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or not any(environment.get(name) for name in ENDPOINTS):
        return ()
    waiting = environment.get("OTEL_BSP_MAX_QUEUE_SIZE", "")
    return (Sending(int(waiting) if waiting.isdigit() else WAITING),)


class Sending:
    """Sends spans from a thread of its own. At most `waiting` wait; what is more is counted.

    The SDK counts, too, in a log record for each lost span: ten times what a sent one costs.
    """

    def __init__(self, waiting: int = WAITING, close_seconds: float = CLOSE_SECONDS) -> None:
        self._exporter = _Exporter()
        self._batches = BatchSpanProcessor(self._exporter, max_queue_size=waiting)
        self._waiting = waiting
        self._close_seconds = close_seconds
        self._taken = 0

    def on_end(self, facts: Facts) -> None:
        """Take a span that has ended. Never waits."""
        if self._taken - self._exporter.sent >= self._waiting:
            self._exporter.lost += 1
            return
        try:
            span = _Encoded(encoded(facts))
        except Exception:  # noqa: BLE001 - a span is never worth the call that it is about
            self._exporter.lost += 1
            return
        self._taken += 1
        # It asks for nothing but the context, and hands it to the exporter as it is.
        self._batches.on_end(span)  # type: ignore[arg-type]

    @property
    def lost(self) -> int:
        """How many spans found no place, or could not be encoded."""
        return self._exporter.lost

    def shutdown(self) -> None:
        """Send what waits, and give up soon: the SDK would wait for half a minute."""
        timer = threading.Timer(self._close_seconds, self._exporter.shutdown)
        timer.daemon = True
        timer.start()
        self._batches.shutdown()  # type: ignore[no-untyped-call]
        timer.cancel()


class _Encoded:
    """A span that waits: bytes, which no collection of garbage has to look at."""

    __slots__ = ("content",)
    context = WANTED

    def __init__(self, content: bytes) -> None:
        self.content = content


class _Exporter(OTLPSpanExporter):
    """Sends what is encoded already: its thread takes the interpreter from the one that serves."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.lost = 0
        self._told = 0

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        """Send a batch, and say what was lost before it."""
        self.sent += len(spans)
        lost = self.lost
        if lost > self._told:
            log.warning("spans lost", count=lost - self._told)
            self._told = lost
        return super().export(spans)

    def _translate_data(self, data: Sequence[Any]) -> ExportTraceServiceRequest:
        return request_of([span.content for span in data])


def request_of(spans: Sequence[bytes]) -> ExportTraceServiceRequest:
    """Return the request that exports encoded spans, which are all of one resource and scope."""
    none = ReadableSpan("", WANTED, resource=SERVICE, instrumentation_scope=SCOPE)
    request = encode_spans([none])
    (of_scope,) = request.resource_spans[0].scope_spans
    of_scope.ClearField("spans")
    of_scope.MergeFromString(b"".join(spans))
    return request
