"""Opens a Call for every RPC and for every item of a stream, and records how each ended.

Decides what a call is remembered by: its decision record, its duration, and for a fault of the
gateway its log line. What it never does: answer a caller.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog
from google.rpc import code_pb2
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind

from ims_gateway.errors import (
    Fault,
    InvalidRequest,
    LimitExceeded,
    NotImplementedYet,
    Refusal,
    reason_name,
)
from ims_gateway.telemetry.call import Call, decision_id
from ims_gateway.telemetry.decisions import DecisionLog
from ims_gateway.telemetry.spans import Spans

ROUNDED_SECONDS: Final = 0.02
ROUNDED_SHARE: Final = 0.01
# A caller can break as many rules as fit into a message; a record stays a line.
SHOWN_PATHS: Final = 32

log = structlog.get_logger()


class Calls:
    """Every call of the process, from its opening to its record.

    `measure` is told of each that has ended.
    """

    def __init__(
        self, spans: Spans, decisions: DecisionLog, measure: Callable[[Call], None]
    ) -> None:
        self._spans = spans
        self._decisions = decisions
        self._measure = measure

    def open(self, method: str, parent: Context, seconds_left: float | None) -> Call:
        """Open the call of one RPC, such as "imsgateway.v1.JobService/SubmitJob".

        `seconds_left` is how long its caller waits; None for ever.
        """
        deadline = None if seconds_left is None else time.monotonic() + seconds_left
        caller = trace.get_current_span(parent).get_span_context()
        context = self._spans.first(method, SpanKind.SERVER, parent)
        return self._call(method, deadline, context, caller if caller.is_valid else None)

    def open_item(self, stream: Call, index: int) -> Call:
        """Open the call of one item of a stream: a decision of its own, below the stream's span."""
        parent = stream.span.get_span_context()
        call = self._call(stream.method, stream.deadline, self._spans.below(parent), parent)
        call.principal = stream.principal
        call.index = index
        return call

    def close(self, call: Call, code: int = code_pb2.OK, reason: str = "") -> None:
        """End the call and record it.

        A call of a flood is counted into a record that exists, and has that one's id afterwards.
        """
        call.end(code, reason)
        single = self._decisions.add(call)
        call.end_span(single=single)
        self._measure(call)

    def abandon(self, call: Call) -> None:
        """End a call whose caller has hung up or has run out of time."""
        self.close(call, code_pb2.DEADLINE_EXCEEDED if _is_late(call) else code_pb2.CANCELLED)

    def refuse(self, call: Call, error: BaseException) -> Refusal:
        """End a call that did not go well, and return what its caller is told."""
        refusal = _refusal(error)
        if isinstance(refusal, InvalidRequest):
            call.paths = tuple(violation.path for violation in refusal.violations[:SHOWN_PATHS])
        if isinstance(refusal, LimitExceeded):
            call.quota, call.breaches = "refused", refusal.breaches
        self.close(call, refusal.code, reason_name(refusal.reason))
        if isinstance(refusal, Fault):
            log.error("fault", decision_id=call.id, method=call.method, exc_info=error)
        return refusal

    def _call(
        self,
        method: str,
        deadline: float | None,
        context: SpanContext,
        parent: SpanContext | None,
    ) -> Call:
        span = NonRecordingSpan(context)
        now = time.time()
        return Call(
            id=decision_id(now),
            method=method,
            time=now,
            deadline=deadline,
            spans=self._spans,
            span=span,
            context=trace.set_span_in_context(span),
            parent=parent,
        )


def _is_late(call: Call) -> bool:
    """Say whether it was the deadline that ended an abandoned call.

    A caller's clock ends it, and ours may have a moment left: a deadline travels rounded up, by as
    much as a hundredth.
    """
    if call.deadline is None:
        return False
    elapsed = time.perf_counter() - call.started
    return call.deadline - time.monotonic() <= ROUNDED_SECONDS + ROUNDED_SHARE * elapsed


def _refusal(error: BaseException) -> Refusal:
    """Return the error if it is meant for the caller, else a refusal that says nothing of it."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, NotImplementedError):
        return NotImplementedYet()
    return Fault()
