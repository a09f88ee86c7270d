"""W3C Trace Context on its way in and out: the caller's metadata, headers upstream, the ledger.

What does not keep to the standard is ignored, all of it. Baggage is read by nobody here and sent to
nobody: callers may put into it what they like.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
# As much as the standard asks to pass on.
LONGEST_STATE: Final = 512
NOWHERE: Final = Context()
PROPAGATOR: Final = TraceContextTextMapPropagator()


def incoming(metadata: Iterable[tuple[str, str | bytes]]) -> Context:
    """Return a context with the caller's span, or with none."""
    found: dict[str, list[str]] = {TRACEPARENT: [], TRACESTATE: []}
    for name, value in metadata:
        if name in found and isinstance(value, str):
            found[name].append(value)
    if len(found[TRACEPARENT]) != 1:
        return NOWHERE
    return PROPAGATOR.extract(found, NOWHERE)


def outgoing(context: SpanContext) -> Mapping[str, str]:
    """Return the headers with which a trace goes on elsewhere."""
    headers = {TRACEPARENT: written(context)}
    state = context.trace_state.to_header() if context.trace_state else ""
    if 0 < len(state) <= LONGEST_STATE:
        headers[TRACESTATE] = state
    return headers


def written(context: SpanContext) -> str:
    """Return a span's identity as traceparent."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def read(traceparent: str) -> SpanContext:
    """Return the identity that a traceparent gives; it is not valid where that is none."""
    found = PROPAGATOR.extract({TRACEPARENT: traceparent}, NOWHERE)
    return trace.get_current_span(found).get_span_context()
