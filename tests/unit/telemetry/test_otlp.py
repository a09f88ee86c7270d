"""Spans become the messages that OpenTelemetry's own encoder makes of them."""

import socket
import time

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState

from ims_gateway.telemetry.otlp import Sending, processors, request_of
from ims_gateway.telemetry.spans import Facts, Spans
from tests.spans import SpanKeeper

RESOURCE = Resource({"service.name": "test"})


def a_context(number, *, remote=False, **members):
    """Return an identity."""
    return SpanContext(2**100 + number, 2**50 + number, is_remote=remote, **members)


def test_requests_are_those_of_the_sdk():
    """Every kind, every type of value, status, state, parents here and elsewhere, and links."""
    keeper = SpanKeeper()
    spans = Spans(TracerProvider(resource=RESOURCE, shutdown_on_exit=False), (keeper,))
    stateful = a_context(1, trace_flags=TraceFlags(1), trace_state=TraceState([("a", "1")]))
    values = {"text": "ü", "yes": True, "no": False, "count": -3, "seconds": 0.5}
    for number, kind in enumerate(SpanKind):
        spans.hand_on(Facts(f"n{number}", kind, a_context(number), None, 1, 2))
        spans.hand_on(Facts("child", kind, a_context(7), a_context(8), 3, 4, values))
    spans.hand_on(Facts("state", SpanKind.SERVER, stateful, a_context(9, remote=True), 5, 6))
    spans.hand_on(Facts("bad", SpanKind.CLIENT, a_context(2), None, 5, 6, {}, "NO_GOOD"))
    cause = a_context(3, remote=True)
    spans.hand_on(Facts("again", SpanKind.INTERNAL, stateful, None, 5, 6, {}, "", cause))
    assert request_of(keeper.spans) == encode_spans(keeper.spans)


def test_nothing_is_exported_without_an_endpoint_or_where_the_sdk_is_off():
    """The SDK's own default would be a port on this machine at which nobody listens."""
    assert processors({}) == ()
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    assert processors({**endpoint, "OTEL_SDK_DISABLED": "true"}) == ()


def test_spans_that_find_no_place_are_counted_and_a_stop_waits_for_nobody(monkeypatch):
    """An endpoint that takes connections and never answers holds up neither calls nor the end."""
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        port = frozen.getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
        sending = Sending(waiting=4, close_seconds=0.1)
        spans = Spans(TracerProvider(resource=RESOURCE, shutdown_on_exit=False), (sending,))
        sampled = a_context(1, trace_flags=TraceFlags(1))
        for _ in range(100):
            spans.hand_on(Facts("one", SpanKind.INTERNAL, sampled, None, 1, 2))
        # Some batches may have been taken from the queue meanwhile.
        assert 0 < sending.lost <= 96
        began = time.monotonic()
        sending.shutdown()
        assert time.monotonic() - began < 30
