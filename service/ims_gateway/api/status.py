"""Turns a refusal into a google.rpc.Status: the one place that does."""

from __future__ import annotations

import math
from typing import Final

from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from ims_gateway import errors

DOMAIN: Final = "imsgateway.v1"
JOB_TYPE: Final = "imsgateway.v1/Job"
# A status travels in trailers. Of those gRPC takes 8 KiB; of more, the caller gets nothing but
# RESOURCE_EXHAUSTED, which reads as a quota.
VIOLATIONS_BYTES: Final = 3000
LONGEST_PATH: Final = 200


def status_of(refusal: errors.Refusal, call_id: str) -> status_pb2.Status:
    """Return the refusal as callers see it; the call's id finds its record."""
    metadata = {"decision_id": call_id, **refusal.metadata}
    info = error_details_pb2.ErrorInfo(
        reason=errors.reason_name(refusal.reason), domain=DOMAIN, metadata=metadata
    )
    status = status_pb2.Status(code=refusal.code, message=refusal.message)
    for detail in (info, *_details(refusal)):
        status.details.add().Pack(detail)
    return status


def _details(refusal: errors.Refusal) -> list[Message]:
    match refusal:
        case errors.InvalidRequest():
            return [_bad_request(refusal)]
        case errors.LimitExceeded():
            return [_quota_failure(refusal), *_retry_info(refusal.retry_after_seconds)]
        case errors.TryLater() | errors.ResolutionTooEarly():
            return _retry_info(refusal.retry_after_seconds)
        case errors.SubmitOutcomeUnknown():
            return [_resource(refusal.job_name, "its state is SUBMIT_UNKNOWN")]
        case errors.JobNotFound():
            return [_resource(refusal.name, "there is no such job")]
    return []


def _bad_request(refusal: errors.InvalidRequest) -> error_details_pb2.BadRequest:
    """Return every violation or, of very many, as many as fit and how many more there are."""
    detail = error_details_pb2.BadRequest()
    for number, violation in enumerate(refusal.violations):
        if detail.ByteSize() > VIOLATIONS_BYTES:
            more = f"and {len(refusal.violations) - number} more"
            detail.field_violations.add(description=more, reason="violations.more")
            break
        detail.field_violations.add(
            field=violation.path[:LONGEST_PATH],
            description=violation.description,
            reason=violation.rule,
        )
    return detail


def _quota_failure(refusal: errors.LimitExceeded) -> error_details_pb2.QuotaFailure:
    return error_details_pb2.QuotaFailure(
        violations=[
            error_details_pb2.QuotaFailure.Violation(
                subject=f"tenants/{breach.tenant}",
                description=f"limit {breach.limit_id} of {breach.value} is reached",
                quota_metric=breach.metric,
                quota_id=breach.limit_id,
                quota_dimensions={"tenant": breach.tenant, **dict(breach.dimensions)},
                quota_value=breach.value,
            )
            for breach in refusal.breaches
        ]
    )


def _retry_info(seconds: float | None) -> list[Message]:
    if seconds is None:
        return []
    delay = duration_pb2.Duration()
    delay.FromMilliseconds(math.ceil(seconds * 1000))
    return [error_details_pb2.RetryInfo(retry_delay=delay)]


def _resource(name: str, description: str) -> error_details_pb2.ResourceInfo:
    return error_details_pb2.ResourceInfo(
        resource_type=JOB_TYPE, resource_name=name, description=description
    )
