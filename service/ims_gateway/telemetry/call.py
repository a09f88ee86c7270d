"""One call in flight: what is known of it so far, for its spans and its record.

The record of a call is written once, when the call has ended, whatever its end. What it never
holds: credentials, signatures, presigned addresses, user data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic, perf_counter
from typing import Any, Final

from google.rpc import code_pb2
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from ims_gateway.errors import LimitBreach, NotAuthenticated, Refusal, reason_name
from ims_gateway.identity.principal import Principal
from ims_gateway.policy.decision import Decision
from ims_gateway.quota.charges import LimitState
from ims_gateway.telemetry import conventions

# A key of a map, as violations write it. It is a text of the caller's, and no name of a field.
MAP_KEY: Final = re.compile(r'\["(?:[^"\\]|\\.)*"\]')
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


@dataclass(slots=True)
class Call:
    """One RPC from its first byte to its last.

    `time` is in seconds since the epoch, `deadline` is a reading of `time.monotonic` or None.
    """

    id: str
    method: str
    time: float
    deadline: float | None
    tracer: Tracer
    span: Span
    context: Context
    principal: Principal | None = None
    # The tenant for which the caller acts, once it is known to be one that it may act for.
    tenant: str = ""
    # The caller's number, where the call is one item of a stream.
    index: int | None = None
    algorithm: str = ""
    job: str = ""
    decision: Decision | None = None
    # What the call's job took of the limits, and what became of that; the holds' own words: held,
    # committed, released. Or else refused, by the breaches.
    quota: str = ""
    limits: tuple[LimitState, ...] = ()
    breaches: tuple[LimitBreach, ...] = ()
    # The service's id of the last call that was made to it.
    upstream_request_id: str = ""
    recalled: bool = False
    # Set when the caller has hung up while the submit goes on.
    abandoned: bool = False
    code: int = code_pb2.OK
    reason: str = ""
    paths: tuple[str, ...] = ()
    steps: list[dict[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=perf_counter)
    duration_us: int = 0

    @property
    def caller(self) -> Principal:
        """The authenticated caller. Raises NotAuthenticated where there is none."""
        if self.principal is None:
            raise NotAuthenticated
        return self.principal

    @property
    def traceparent(self) -> str:
        """The call's span as W3C Trace Context writes it."""
        span = self.span.get_span_context()
        return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"

    def seconds_left(self, at_most: float) -> float:
        """Return how long the caller waits for the answer: nothing, once it has hung up."""
        if self.abandoned:
            return 0.0
        return at_most if self.deadline is None else min(at_most, self.deadline - monotonic())

    @contextmanager
    def step(
        self, name: str, kind: SpanKind = SpanKind.INTERNAL, **attributes: str
    ) -> Iterator[Span]:
        """Do one step of the pipeline: a span of its own, and a line in the call's record."""
        span = self.tracer.start_span(name, self.context, kind, attributes or None)
        started = perf_counter()
        outcome = "ok"
        try:
            yield span
        except BaseException as error:
            outcome = outcome_of(error)
            span.set_status(Status(StatusCode.ERROR, outcome))
            span.set_attribute(conventions.ERROR_TYPE, outcome)
            raise
        finally:
            span.end()
            self.steps.append(
                {
                    "step": name,
                    "outcome": outcome,
                    "at_us": round((started - self.started) * 1e6),
                    "us": round((perf_counter() - started) * 1e6),
                }
            )

    def end(self, code: int, reason: str = "") -> None:
        """Note how the call ended, and when."""
        self.code = code
        self.reason = reason
        self.duration_us = round((perf_counter() - self.started) * 1e6)

    def end_span(self) -> None:
        """Close the span of a call that has ended."""
        span = self.span
        span.set_attribute(conventions.RPC_STATUS_CODE, self.code)
        span.set_attribute(conventions.DECISION_ID, self.id)
        if self.principal is not None:
            span.set_attribute(conventions.PRINCIPAL, self.principal.name)
            span.set_attribute(conventions.TENANT, self.tenant or self.principal.tenant)
        for attribute, value in (
            (conventions.ALGORITHM, self.algorithm),
            (conventions.JOB, self.job),
            (conventions.REASON, self.reason),
            (conventions.RULE, self.decision.rule if self.decision else ""),
        ):
            if value:
                span.set_attribute(attribute, value)
        if self.code in SERVER_FAULTS:
            span.set_status(Status(StatusCode.ERROR, self.reason))
        span.end()

    def record(self) -> dict[str, Any]:
        """Return the record of a call that has ended; docs/reference.md describes its fields."""
        record: dict[str, Any] = {
            "time": round(self.time, 6),
            "decision_id": self.id,
            # More than one in the record of a flood.
            "count": 1,
            "trace_id": trace.format_trace_id(self.span.get_span_context().trace_id),
            "method": self.method,
            **self._caller(),
            "algorithm": self.algorithm,
            "job": self.job,
            "recalled": self.recalled,
            "code": code_pb2.Code.Name(self.code),
            "reason": self.reason,
            "upstream_request_id": self.upstream_request_id,
            "duration_us": self.duration_us,
            # A submit goes on after its caller has hung up, and so do its steps.
            "steps": [*self.steps],
        }
        if self.index is not None:
            record["index"] = self.index
        if self.paths:
            record["violations"] = [MAP_KEY.sub("[]", path) for path in self.paths]
        if self.decision is not None:
            record["policy"] = _policy(self.decision)
        if on_trial := [each.limit_id for each in self.limits if each.remaining < 0]:
            record["shadow_breaches"] = on_trial
        if self.quota:
            record["quota"] = self._quota()
        return record

    def _caller(self) -> dict[str, str]:
        if self.principal is None:
            return dict.fromkeys(("principal", "principal_tenant", "credential", "tenant"), "")
        return {
            "principal": self.principal.name,
            "principal_tenant": self.principal.tenant,
            "credential": self.principal.credential,
            "tenant": self.tenant or self.principal.tenant,
        }

    def _quota(self) -> dict[str, Any]:
        limits = [_limit(limit, max(0, limit.remaining)) for limit in self.limits]
        refused = [_limit(breach, 0) for breach in self.breaches]
        return {"outcome": self.quota, "limits": [*limits, *refused]}


def _limit(limit: LimitState | LimitBreach, remaining: int) -> dict[str, Any]:
    return {
        "limit_id": limit.limit_id,
        "metric": limit.metric,
        "limit": limit.value,
        "remaining": remaining,
    }


def _policy(decision: Decision) -> dict[str, Any]:
    """Return question and answer: what `imsgw policy diff` needs to ask again."""
    ask = decision.ask
    shadow = {} if decision.shadow is None else {"shadow": _verdict(decision.shadow)}
    return {
        **_verdict(decision),
        "version": decision.policy_version,
        "subject": ask.subject,
        "action": ask.action,
        "algorithm": ask.algorithm,
        "priority": ask.priority,
        "model": ask.model,
        "pipeline": ask.pipeline,
        "template": ask.template,
        "objects": [
            {"access": answer.access, "object": answer.object, "allowed": answer.allowed}
            for answer in decision.objects
        ],
        **shadow,
    }


def _verdict(decision: Decision) -> dict[str, Any]:
    return {
        "allowed": decision.allowed,
        "dimension": decision.failed.name if decision.failed else "",
        "rule": decision.rule,
    }


def outcome_of(error: BaseException) -> str:
    """Return a refusal's reason, or the name of an error's class: never its text."""
    return reason_name(error.reason) if isinstance(error, Refusal) else type(error).__name__


# The one context variable: set by the outermost interceptor, and for an item of a stream in the
# item's own task. A servicer reads it once, at the edge; apart from that, only the log does.
current: ContextVar[Call] = ContextVar("current_call")
