"""The spans of the process: which are handed on, and with which identity.

A span is noted as plain facts while its call is under way, and made when the call has ended. Then
it is known whether the call was refused, which no sampler at its begin can know; and a call that
nobody wants to see costs next to nothing. The SDK's tracer does neither: it makes each span while
the call runs, at 30 µs each, and asks for all of them before the end. Its sampler, ids, resource,
processors and exporters are used as they are, with the environment variables that they read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

SCOPE: Final = InstrumentationScope("ims_gateway")
SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
NOT_SAMPLED: Final = TraceFlags(TraceFlags.DEFAULT)
UNSET: Final = Status(StatusCode.UNSET)

Value = str | bool | int | float


@dataclass(slots=True)
class Facts:
    """What a span will tell. Times are nanoseconds since the epoch.

    `error` is what failed, of an error; it becomes the status. `cause` is a span of another trace,
    or of an earlier call, that this one goes back to.
    """

    name: str
    kind: SpanKind
    context: SpanContext
    parent: SpanContext | None
    began: int
    ended: int
    attributes: dict[str, Value] = field(default_factory=dict)
    error: str = ""
    cause: SpanContext | None = None


class Spans:
    """Hands spans on to processors. Without any, nothing is sampled.

    With `keeps_refusals` also those of calls that were refused, whatever the sampler says.
    """

    def __init__(
        self,
        provider: TracerProvider,
        processors: Sequence[SpanProcessor] = (),
        *,
        keeps_refusals: bool = False,
    ) -> None:
        self._sampler = provider.sampler
        self._ids = provider.id_generator
        self._resource = provider.resource
        self._processors = tuple(processors)
        self._keeps_refusals = keeps_refusals

    def first(self, name: str, kind: SpanKind, parent: Context) -> SpanContext:
        """Return the identity of a span that this process begins, and decide whether to sample."""
        remote = trace.get_current_span(parent).get_span_context()
        trace_id = remote.trace_id if remote.is_valid else self._ids.generate_trace_id()
        flags, state = NOT_SAMPLED, remote.trace_state
        if self._processors:
            result = self._sampler.should_sample(
                parent, trace_id, name, kind, trace_state=remote.trace_state
            )
            sampled = result.decision is Decision.RECORD_AND_SAMPLE
            flags = SAMPLED if sampled else NOT_SAMPLED
            state = result.trace_state or state
        return SpanContext(
            trace_id,
            self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=flags,
            trace_state=state,
        )

    def below(self, parent: SpanContext) -> SpanContext:
        """Return the identity of a span below another."""
        return SpanContext(
            parent.trace_id,
            self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=parent.trace_flags,
            trace_state=parent.trace_state,
        )

    def wanted(self, context: SpanContext, *, refused: bool) -> bool:
        """Say whether a call's spans are to be handed on, now that its end is known."""
        return bool(self._processors) and (
            context.trace_flags.sampled or (refused and self._keeps_refusals)
        )

    def hand_on(self, facts: Facts) -> None:
        """Make a span that has ended."""
        span = ReadableSpan(
            facts.name,
            _sampled(facts.context),
            facts.parent,
            self._resource,
            facts.attributes,
            links=(Link(facts.cause),) if facts.cause and facts.cause.is_valid else (),
            kind=facts.kind,
            status=Status(StatusCode.ERROR, facts.error) if facts.error else UNSET,
            start_time=facts.began,
            end_time=facts.ended,
            instrumentation_scope=SCOPE,
        )
        for processor in self._processors:
            processor.on_end(span)


def _sampled(context: SpanContext) -> SpanContext:
    """Return the identity of a span as processors want it: they pass over all others."""
    if context.trace_flags.sampled:
        return context
    return SpanContext(
        context.trace_id,
        context.span_id,
        is_remote=False,
        trace_flags=SAMPLED,
        trace_state=context.trace_state,
    )
