"""One call in flight: what is known of it so far, for its spans and its record.

The record of a call is written once, when the call has ended, whatever its end. What it never
holds: credentials, signatures, presigned addresses, user data.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic, perf_counter
from typing import Any, Final

from google.rpc import code_pb2
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind

from ims_gateway.errors import LimitBreach, NotAuthenticated
from ims_gateway.identity.principal import Principal
from ims_gateway.policy.decision import Decision
from ims_gateway.quota.charges import LimitState
from ims_gateway.telemetry import conventions
from ims_gateway.telemetry.propagation import written
from ims_gateway.telemetry.spans import Facts, Spans, Value
from ims_gateway.telemetry.step import SERVER_FAULTS, Step, refused_by

# The name of the span of one item of a stream.
ITEM: Final = "item"
# A key of a map, as violations write it. It is a text of the caller's, and no name of a field.
MAP_KEY: Final = re.compile(r'\["(?:[^"\\]|\\.)*"\]')


@dataclass(slots=True)
class Call:
    """One RPC from its first byte to its last.

    `time` is in seconds since the epoch, `deadline` is a reading of `time.monotonic` or None.
    `span` and `context` say where in which trace the call is; what its span tells, is told at its
    end.
    """

    id: str
    method: str
    time: float
    deadline: float | None
    spans: Spans
    span: Span
    context: Context
    # Who called: in another process, or the stream of which the call is one item.
    parent: SpanContext | None = None
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
    steps: list[Step] = field(default_factory=list)
    # Whether its spans are handed on: known at its end.
    shown: bool = False
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
        return written(self.span.get_span_context())

    def seconds_left(self, at_most: float) -> float:
        """Return how long the caller waits for the answer: nothing, once it has hung up."""
        if self.abandoned:
            return 0.0
        return at_most if self.deadline is None else min(at_most, self.deadline - monotonic())

    def step(self, name: str, kind: SpanKind = SpanKind.INTERNAL, **attributes: Value) -> Step:
        """Do one step of the pipeline: a span of its own, and a line in the call's record."""
        return Step(
            name,
            kind,
            attributes,
            parent=self.span.get_span_context(),
            spans=self.spans,
            done=self._step_done,
        )

    def end(self, code: int, reason: str = "") -> None:
        """Note how the call ended, and when."""
        self.code = code
        self.reason = reason
        self.duration_us = round((perf_counter() - self.started) * 1e6)

    def end_span(self, *, single: bool = True) -> None:
        """Hand on the spans of a call that has ended, if they are wanted.

        `single` says that it stands singly in the decision log, and not among others of a flood.
        """
        context = self.span.get_span_context()
        refused = single and self.code != code_pb2.OK
        self.shown = self.spans.wanted(context, refused=refused)
        if not self.shown:
            return
        for step in self.steps:
            self._show(step)
        server = self.index is None
        began = self._nanoseconds(self.started)
        facts = Facts(
            self.method if server else ITEM,
            SpanKind.SERVER if server else SpanKind.INTERNAL,
            context,
            self.parent,
            began,
            began + self.duration_us * 1000,
            self._attributes(),
            self.reason or code_pb2.Code.Name(self.code) if self.code in SERVER_FAULTS else "",
        )
        self.spans.hand_on(facts)

    def _attributes(self) -> dict[str, Value]:
        """Return what the call's span tells; what is not known is left out."""
        code = code_pb2.Code.Name(self.code)
        decision, principal = self.decision, self.principal
        known: dict[str, Value] = {
            conventions.RPC_SYSTEM_NAME: "grpc",
            conventions.RPC_METHOD: self.method,
            conventions.RPC_RESPONSE_STATUS_CODE: code,
            conventions.ERROR_TYPE: code if self.code in SERVER_FAULTS else "",
            conventions.DECISION_ID: self.id,
            conventions.PRINCIPAL: principal.name if principal else "",
            conventions.TENANT: self.tenant or (principal.tenant if principal else ""),
            conventions.ALGORITHM: self.algorithm,
            conventions.JOB: self.job,
            conventions.RECALLED: self.recalled,
            conventions.REASON: self.reason,
            conventions.RULE: decision.rule if decision else "",
            conventions.DIMENSION: decision.failed.name if decision and decision.failed else "",
            conventions.QUOTA_OUTCOME: self.quota,
            conventions.UPSTREAM_REQUEST_ID: self.upstream_request_id,
        }
        if self.breaches:
            known |= refused_by(self.breaches)
        return {name: value for name, value in known.items() if value}

    def _step_done(self, step: Step) -> None:
        self.steps.append(step)
        if self.shown:
            # A submit goes on after its caller has hung up, and so do its steps.
            self._show(step)

    def _show(self, step: Step) -> None:
        self.spans.hand_on(
            Facts(
                step.name,
                step.kind,
                step.context,
                self.span.get_span_context(),
                self._nanoseconds(step.began),
                self._nanoseconds(step.ended),
                step.attributes,
                step.error,
                step.cause,
            )
        )

    def _nanoseconds(self, reading: float) -> int:
        """Return when that was, since the epoch; of a reading of `perf_counter`."""
        return round(self.time * 1e9) + round((reading - self.started) * 1e9)

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
            "steps": [self._line(step) for step in self.steps],
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

    def _line(self, step: Step) -> dict[str, Any]:
        return {
            "step": step.name,
            "outcome": step.outcome,
            "at_us": round((step.began - self.started) * 1e6),
            "us": round((step.ended - step.began) * 1e6),
        }

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


def decision_id(time: float) -> str:
    """Return a new id for what is decided then, in seconds since the epoch: 32 hex digits.

    Ids sort by time: the ledger's index grows at one end, and not all over.
    """
    return f"{int(time * 1e6):014x}{secrets.token_hex(9)}"


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


# The one context variable: set by the outermost interceptor, and for an item of a stream in the
# item's own task. A servicer reads it once, at the edge; apart from that, only the log does.
current: ContextVar[Call] = ContextVar("current_call")
