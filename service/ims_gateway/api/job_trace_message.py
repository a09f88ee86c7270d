"""What happened to a job as the contract's JobTrace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from google.protobuf import duration_pb2

from ims_gateway.api.job_message import job_message
from ims_gateway.job_trace import JobTrace
from ims_gateway.preview import timestamp
from ims_gateway.telemetry import conventions
from imsgateway.v1 import decision_pb2, job_pb2
from imsgateway.v1.job_trace_pb2 import JobTrace as Message


def job_trace_message(trace: JobTrace) -> Message:
    """Return it as the contract spells it."""
    record, course = trace.job, trace.course
    job = job_message(record, result=False)
    return Message(
        name=f"{record.name}/trace",
        algorithm=record.algorithm,
        state=job.state,
        failure=job.failure if job.HasField("failure") else None,
        trace_id=record.trace_id,
        decision_id=record.decision_id,
        submit=None if trace.record is None else _submit(trace.record),
        dispatch_time=_time(course.dispatch_time),
        changes=[
            Message.Change(
                state=cast("job_pb2.Job.State", int(change.state)),
                time=timestamp(change.time),
                cause=change.cause,
            )
            for change in course.transitions
        ],
        next_poll_time=_time(course.next_poll_time),
        read_time=timestamp(trace.time),
    )


def _submit(record: Mapping[str, Any]) -> Message.Submit:
    return Message.Submit(
        start_time=timestamp(round(record["time"] * 1_000_000)),
        duration=_duration(record["duration_us"]),
        code=record["code"],
        reason=record["reason"],
        steps=[_step(record, step) for step in record["steps"]],
    )


def _step(record: Mapping[str, Any], step: Mapping[str, Any]) -> Message.Step:
    name = step["step"]
    return Message.Step(
        name=name,
        outcome=step["outcome"],
        # Records of before there were offsets have none.
        start_offset=_duration(step["at_us"]) if "at_us" in step else None,
        duration=_duration(step["us"]),
        attributes={key: value for key, value in _facts(record, name) if value},
        limits=[
            decision_pb2.QuotaEffect.LimitEffect(**limit)
            for limit in record.get("quota", {}).get("limits", ())
            if name == "admit"
        ],
    )


def _facts(record: Mapping[str, Any], step: str) -> Iterator[tuple[str, str]]:
    """Yield what a record of the whole call says of one of its steps."""
    policy, quota = record.get("policy", {}), record.get("quota", {})
    if step == "authorize":
        yield conventions.RULE, policy.get("rule", "")
        yield conventions.POLICY_VERSION, policy.get("version", "")
    if step == "admit":
        yield conventions.QUOTA_OUTCOME, quota.get("outcome", "")
    if step == "send":
        yield conventions.UPSTREAM_REQUEST_ID, record.get("upstream_request_id", "")


def _time(microseconds: int | None) -> Any:
    return None if microseconds is None else timestamp(microseconds)


def _duration(microseconds: int) -> duration_pb2.Duration:
    duration = duration_pb2.Duration()
    duration.FromMicroseconds(microseconds)
    return duration
