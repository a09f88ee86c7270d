"""Records of decisions, from the JSON of the decision log to the contract's messages.

A record may have been written by another version: what it does not have stays unset.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import duration_pb2, timestamp_pb2

from ims_gateway.preview import ACCESS, timestamp
from imsgateway.v1 import admin_service_pb2 as pb
from imsgateway.v1 import decision_pb2

Record = pb.ListDecisionsResponse.DecisionRecord
TEXTS: Final = (
    "decision_id",
    "method",
    "principal",
    "algorithm",
    "code",
    "reason",
    "trace_id",
    "credential",
    "job",
    "upstream_request_id",
)


def record_message(record: Mapping[str, Any]) -> Record:
    """Return a record as the contract spells it."""
    policy, quota = record.get("policy"), record.get("quota", {})
    shadow = (policy or {}).get("shadow")
    return Record(
        **{name: record.get(name, "") for name in TEXTS},
        time=_time(record.get("time")),
        last_time=_time(record.get("last_time")),
        tenant=_resource(record.get("tenant")),
        principal_tenant=_resource(record.get("principal_tenant")),
        index=record.get("index"),
        recalled=record.get("recalled", False),
        violations=record.get("violations", ()),
        rule=(policy or {}).get("rule", ""),
        policy=_policy(record.get("decision_id", ""), policy) if policy else None,
        quota_outcome=_value(Record.QuotaOutcome, "QUOTA_OUTCOME", quota.get("outcome")),
        limits=[decision_pb2.QuotaEffect.LimitEffect(**limit) for limit in quota.get("limits", ())],
        duration=_duration(record.get("duration_us")),
        steps=[
            Record.Step(
                step=step["step"],
                outcome=step["outcome"],
                duration=_duration(step["us"]),
                start_offset=_duration(step.get("at_us")),
            )
            for step in record.get("steps", ())
        ],
        count=record.get("count", 1),
        samples=[record_message(sample) for sample in record.get("samples", ())],
        action=(policy or {}).get("action", ""),
        shadow=_shadow(shadow) if shadow else None,
    )


def _policy(decision_id: str, policy: Mapping[str, Any]) -> decision_pb2.Decision:
    return decision_pb2.Decision(
        decision_id=decision_id,
        allowed=policy["allowed"],
        failed_dimension=_dimension(policy.get("dimension")),
        policy_version=policy.get("version", ""),
        objects=[
            decision_pb2.Decision.ObjectDecision(
                access=ACCESS.get(answer["access"]),
                object=answer["object"],
                allowed=answer["allowed"],
                rule=answer.get("rule", ""),
                failed_dimension=_dimension(answer.get("dimension")),
            )
            for answer in policy.get("objects", ())
        ],
    )


def _shadow(shadow: Mapping[str, Any]) -> Record.Shadow:
    return Record.Shadow(
        allowed=shadow["allowed"],
        failed_dimension=_dimension(shadow.get("dimension")),
        rule=shadow.get("rule", ""),
    )


def _dimension(name: str | None) -> Any:
    return _value(decision_pb2.Decision.Dimension, "DIMENSION", name)


def _value(enum: Any, prefix: str, name: str | None) -> Any:
    """Return the number of an enum's value by its short name; 0 where there is no such value."""
    known = enum.DESCRIPTOR.values_by_name.get(f"{prefix}_{(name or '').upper()}")
    return known.number if known else 0


def _resource(tenant: str | None) -> str:
    return f"tenants/{tenant}" if tenant else ""


def _time(seconds: float | None) -> timestamp_pb2.Timestamp | None:
    return None if seconds is None else timestamp(round(seconds * 1_000_000))


def _duration(microseconds: int | None) -> duration_pb2.Duration | None:
    if microseconds is None:
        return None
    duration = duration_pb2.Duration()
    duration.FromMicroseconds(microseconds)
    return duration
