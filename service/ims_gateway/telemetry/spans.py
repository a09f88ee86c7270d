"""The spans of the process: which are handed on, and with which identity.

A span is noted as plain facts while its call is under way, and handed on when the call has ended.
Then it is known whether the call was refused, which no sampler at its begin can know; and a call
that nobody wants to see costs next to nothing. The SDK's tracer does neither: it makes each span
while the call runs, at 30 µs each, and asks for all of them before the end. Its sampler, ids,
resource and exporter are used as they are, with the environment variables that they read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

SCOPE: Final = InstrumentationScope("ims_gateway")
SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
NOT_SAMPLED: Final = TraceFlags(TraceFlags.DEFAULT)

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


class Processor(Protocol):
    """Takes the spans that are wanted, such as what sends them."""

    def on_end(self, facts: Facts, /) -> None:
        """Take a span that has ended. Never waits."""

    def shutdown(self) -> None:
        """Send what is left to send."""


class Spans:
    """Hands spans on to processors. Without any, nothing is sampled.

    With `keeps_refusals` also those of calls that were refused, whatever the sampler says.
    """

    def __init__(
        self,
        provider: TracerProvider,
        processors: Sequence[Processor] = (),
        *,
        keeps_refusals: bool = False,
    ) -> None:
        self._sampler = provider.sampler
        self._ids = provider.id_generator
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
        """Hand a span on that has ended."""
        for processor in self._processors:
            processor.on_end(facts)
