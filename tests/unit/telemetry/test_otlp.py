"""Spans become the messages that OpenTelemetry's own encoder makes of them."""

import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
)

from ims_gateway.telemetry.encoding import encoded
from ims_gateway.telemetry.otlp import Sending, processors, request_of
from ims_gateway.telemetry.spans import Facts, Spans
from tests.spans import readable


def a_context(number, *, remote=False, **members):
    """Return an identity."""
    return SpanContext(2**100 + number, 2**50 + number, is_remote=remote, **members)


VALUES = st.text() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
CONTEXTS = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    is_remote=st.booleans(),
    trace_flags=st.sampled_from([TraceFlags(0), TraceFlags(1)]),
    trace_state=st.sampled_from([TraceState(), TraceState([("a", "1"), ("b", "2")])]),
)
TIMES = st.integers(0, 2**63)
FACTS = st.builds(
    Facts,
    st.text(max_size=300),
    st.sampled_from(list(SpanKind)),
    CONTEXTS,
    st.none() | CONTEXTS,
    TIMES,
    TIMES,
    st.dictionaries(st.text(max_size=200), VALUES, max_size=6),
    st.text(max_size=20),
    st.none() | st.just(INVALID_SPAN_CONTEXT) | CONTEXTS,
)


@given(st.lists(FACTS, min_size=1, max_size=4))
def test_requests_are_those_of_the_sdk(facts):
    """Every kind, every type of value, status, state, parents here and elsewhere, and links."""
    theirs = encode_spans([readable(each) for each in facts])
    assert request_of([encoded(each) for each in facts]) == theirs


@pytest.mark.parametrize("values", [(True, 1, 1.0), (0.0, -0.0), (1.0, 1, True), (False, 0)])
def test_values_that_are_equal_are_not_taken_for_each_other(values):
    """What was encoded before is found again by its type, too."""
    for value in values:
        facts = Facts("n", SpanKind.CLIENT, a_context(1), None, 1, 2, {"of this test": value})
        assert request_of([encoded(facts)]) == encode_spans([readable(facts)])


def test_nothing_is_exported_without_an_endpoint_or_where_the_sdk_is_off():
    """The SDK's own default would be a port on this machine at which nobody listens."""
    assert processors({}) == ()
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    assert processors({**endpoint, "OTEL_SDK_DISABLED": "true"}) == ()


@pytest.mark.parametrize("value", ["\ud800", 2**64], ids=["half a pair", "a large number"])
def test_a_span_that_cannot_be_encoded_is_lost_and_its_call_goes_on(monkeypatch, value):
    """A service may name its request by half a surrogate pair."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    sending = Sending(close_seconds=0.1)
    sampled = a_context(1, trace_flags=TraceFlags(1))
    sending.on_end(Facts("one", SpanKind.INTERNAL, sampled, None, 1, 2, {"id": value}))
    assert sending.lost == 1
    sending.shutdown()


def test_spans_that_find_no_place_are_counted_and_a_stop_waits_for_nobody(monkeypatch):
    """An endpoint that takes connections and never answers holds up neither calls nor the end."""
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        port = frozen.getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
        sending = Sending(waiting=4, close_seconds=0.1)
        spans = Spans(TracerProvider(shutdown_on_exit=False), (sending,))
        sampled = a_context(1, trace_flags=TraceFlags(1))
        for _ in range(100):
            spans.hand_on(Facts("one", SpanKind.INTERNAL, sampled, None, 1, 2))
        # Some batches may have been taken from the queue meanwhile.
        assert 0 < sending.lost <= 96
        began = time.monotonic()
        sending.shutdown()
        assert time.monotonic() - began < 30
