"""One step of a call: how long it took, how it ended, and what its span tells.

Decides which ends are errors. What it never does: tell the text of an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter
from types import TracebackType
from typing import Final, Self

from google.rpc import code_pb2
from opentelemetry.trace import SpanContext, SpanKind

from ims_gateway.errors import LimitBreach, LimitExceeded, Refusal, reason_name
from ims_gateway.telemetry import conventions
from ims_gateway.telemetry.spans import Spans, Value

# Faults of the server's side; the other codes are the caller's affair (RPC semantic conventions).
SERVER_FAULTS: Final = frozenset(
    {
        code_pb2.UNKNOWN,
        code_pb2.DEADLINE_EXCEEDED,
        code_pb2.UNIMPLEMENTED,
        code_pb2.INTERNAL,
        code_pb2.UNAVAILABLE,
        code_pb2.DATA_LOSS,
    }
)
OK: Final = "ok"
CANCELLED: Final = "cancelled"


class Step:
    """A context manager around the step. `began` and `ended` are readings of `perf_counter`."""

    __slots__ = (
        "_context",
        "_done",
        "_parent",
        "_spans",
        "attributes",
        "began",
        "cause",
        "ended",
        "error",
        "kind",
        "name",
        "outcome",
    )

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        attributes: dict[str, Value],
        *,
        parent: SpanContext,
        spans: Spans,
        done: Callable[[Step], None],
    ) -> None:
        self.name = name
        self.kind = kind
        self.attributes = attributes
        self.began = self.ended = 0.0
        self.outcome = OK
        self.error = ""
        self.cause: SpanContext | None = None
        self._parent = parent
        self._spans = spans
        self._done = done
        self._context: SpanContext | None = None

    @property
    def context(self) -> SpanContext:
        """The identity of the step's span. Most steps need none unless they are handed on."""
        if self._context is None:
            self._context = self._spans.below(self._parent)
        return self._context

    def set_attribute(self, name: str, value: Value) -> None:
        """Let the span tell this."""
        self.attributes[name] = value

    def set_attributes(self, attributes: Mapping[str, Value]) -> None:
        """Let the span tell all of this."""
        self.attributes.update(attributes)

    def __enter__(self) -> Self:
        self.began = perf_counter()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.ended = perf_counter()
        if exc is not None:
            self._fail(exc)
        self._done(self)

    def _fail(self, error: BaseException) -> None:
        """Note how the step ended. That a caller was refused, or hung up, is no error of ours."""
        self.outcome = outcome_of(error)
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self.attributes[conventions.OUTCOME] = CANCELLED
            return
        if isinstance(error, Refusal):
            self.attributes[conventions.REASON] = self.outcome
            if isinstance(error, LimitExceeded):
                self.attributes.update(refused_by(error.breaches))
            if error.code not in SERVER_FAULTS:
                return
        self.error = self.attributes[conventions.ERROR_TYPE] = self.outcome


def refused_by(breaches: tuple[LimitBreach, ...]) -> dict[str, Value]:
    """Return what spans tell of the limits that had no room."""
    return {
        conventions.QUOTA_OUTCOME: "refused",
        conventions.LIMIT_ID: ",".join(breach.limit_id for breach in breaches),
        conventions.QUOTA_METRIC: ",".join(breach.metric for breach in breaches),
    }


def outcome_of(error: BaseException) -> str:
    """Return a refusal's reason, or the name of an error's class: never its text."""
    return reason_name(error.reason) if isinstance(error, Refusal) else type(error).__name__
