"""A span as the bytes that OTLP has for it.

A call has nine spans, and to make a protobuf message of each takes twice the time. What comes again
and again, a step's name or a tenant, is encoded once; what is of one length always, ids and times,
is packed. The tests hold it against OpenTelemetry's own encoder.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Final

from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.trace import SpanContext, SpanKind

from ims_gateway.telemetry.spans import Facts, Value

KINDS: Final = {
    SpanKind.INTERNAL: trace_pb2.Span.SPAN_KIND_INTERNAL,
    SpanKind.SERVER: trace_pb2.Span.SPAN_KIND_SERVER,
    SpanKind.CLIENT: trace_pb2.Span.SPAN_KIND_CLIENT,
    SpanKind.PRODUCER: trace_pb2.Span.SPAN_KIND_PRODUCER,
    SpanKind.CONSUMER: trace_pb2.Span.SPAN_KIND_CONSUMER,
}
REMOTE_IS_KNOWN: Final = trace_pb2.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
REMOTE: Final = trace_pb2.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK

# Tags of protobuf's wire format: the field's number times 8, and 1 for 8 bytes, 2 for a length and
# that many bytes, 5 for 4 bytes.
SPANS: Final = bytes((2 << 3 | 2,))  # of ScopeSpans
ATTRIBUTES: Final = bytes((9 << 3 | 2,))
PARENT_SPAN_ID: Final = bytes((4 << 3 | 2, 8))
# trace_id, span_id, start_time_unix_nano, end_time_unix_nano, flags: each after its tag.
_fixed = Struct("<2s16s2s8sBQBQ2sI").pack
TRACE_ID: Final = bytes((1 << 3 | 2, 16))
SPAN_ID: Final = bytes((2 << 3 | 2, 8))
START: Final = 7 << 3 | 1
END: Final = 8 << 3 | 1
# Of a number that takes more than one byte: seven bits are in each, the lowest first.
MORE: Final = 0x80
FLAGS: Final = bytes((16 << 3 & 0x7F | 5 | MORE, 16 >> 4))


def encoded(facts: Facts) -> bytes:
    """Return a span as one of the `spans` of a ScopeSpans, with its tag and length."""
    context, parent = facts.context, facts.parent
    parts = [
        _fixed(
            TRACE_ID,
            context.trace_id.to_bytes(16),
            SPAN_ID,
            context.span_id.to_bytes(8),
            START,
            facts.began,
            END,
            facts.ended,
            FLAGS,
            _flags(parent),
        ),
        _outline(facts.name, facts.kind, facts.error),
        *[
            # Times and shares never come again.
            (_attribute if isinstance(value, float) else _known_attribute)(name, value)
            for name, value in facts.attributes.items()
        ],
    ]
    if parent is not None:
        parts += (PARENT_SPAN_ID, parent.span_id.to_bytes(8))
    if context.trace_state or facts.cause is not None:
        parts.append(_seldom(context, facts.cause))
    return SPANS + _sized(b"".join(parts))


@lru_cache(maxsize=1_000)
def _outline(name: str, kind: SpanKind, error: str) -> bytes:
    span = trace_pb2.Span(name=name, kind=KINDS[kind])
    status = trace_pb2.Status
    span.status.code = status.STATUS_CODE_ERROR if error else status.STATUS_CODE_UNSET
    span.status.message = error
    return span.SerializeToString()


def _attribute(name: str, value: Value) -> bytes:
    pair = common_pb2.KeyValue(key=name)
    # A bool is an int, too.
    if isinstance(value, str):
        pair.value.string_value = value
    elif isinstance(value, bool):
        pair.value.bool_value = value
    elif isinstance(value, int):
        pair.value.int_value = value
    else:
        pair.value.double_value = value
    return ATTRIBUTES + _sized(pair.SerializeToString())


# By type, too: True equals 1.
_known_attribute = lru_cache(maxsize=2_000, typed=True)(_attribute)


def _seldom(context: SpanContext, cause: SpanContext | None) -> bytes:
    span = trace_pb2.Span(trace_state=context.trace_state.to_header())
    if cause is not None and cause.is_valid:
        span.links.add(
            trace_id=cause.trace_id.to_bytes(16),
            span_id=cause.span_id.to_bytes(8),
            flags=_flags(cause),
        )
    return span.SerializeToString()


def _flags(context: SpanContext | None) -> int:
    return REMOTE_IS_KNOWN | (REMOTE if context is not None and context.is_remote else 0)


def _sized(content: bytes) -> bytes:
    """Return it after its length."""
    length, prefix = len(content), bytearray()
    while length >= MORE:
        prefix.append(length % MORE | MORE)
        length //= MORE
    prefix.append(length)
    return bytes(prefix) + content
