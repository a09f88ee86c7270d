"""Turns a failed call into the error of its kind.

Decides the kind, by ErrorInfo.reason where there is one and by the status code otherwise, and reads
the details that the gateway attached. Details that it does not know, or cannot read, are left out.
Never decides whether to try again.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from ims_gateway_client import errors
from ims_gateway_client.errors import GatewayError, QuotaViolation, Violation

DOMAIN: Final = "imsgateway.v1"

KIND_OF_REASON: Final[Mapping[str, type[GatewayError]]] = {
    "NOT_AUTHENTICATED": errors.NotAuthenticated,
    "POLICY_DENIED": errors.PolicyDenied,
    "INVALID_REQUEST": errors.InvalidRequest,
    "REQUEST_ID_REUSED": errors.RequestIdReused,
    "RATE_EXCEEDED": errors.RateExceeded,
    "QUOTA_EXCEEDED": errors.QuotaExceeded,
    "UPSTREAM_REFUSED": errors.UpstreamRefused,
    "UPSTREAM_THROTTLED": errors.Unavailable,
    "UPSTREAM_UNREACHABLE": errors.Unavailable,
    "UPSTREAM_BUSY": errors.Unavailable,
    "UPSTREAM_ERROR": errors.Unavailable,
    "STORE_UNAVAILABLE": errors.Unavailable,
    "GATEWAY_BUSY": errors.Unavailable,
    "SUBMIT_OUTCOME_UNKNOWN": errors.OutcomeUnknown,
    "JOB_NOT_FOUND": errors.JobNotFound,
    "JOB_STATE": errors.JobStateConflict,
    "NOT_IMPLEMENTED": errors.NotServed,
    "INTERNAL": errors.GatewayFault,
}

# For replies that carry no reason: they come from gRPC itself or from a proxy on the way. A bare
# UNKNOWN is not OutcomeUnknown, for no gateway said that it had sent a job.
KIND_OF_CODE: Final[Mapping[grpc.StatusCode, type[GatewayError]]] = {
    # By the other side: the call met a server at the moment of its stop. Whoever cancels a call of
    # its own sees another exception.
    grpc.StatusCode.CANCELLED: errors.Unavailable,
    grpc.StatusCode.UNAUTHENTICATED: errors.NotAuthenticated,
    grpc.StatusCode.PERMISSION_DENIED: errors.PolicyDenied,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequest,
    grpc.StatusCode.ALREADY_EXISTS: errors.RequestIdReused,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.LimitExceeded,
    grpc.StatusCode.NOT_FOUND: errors.JobNotFound,
    grpc.StatusCode.FAILED_PRECONDITION: errors.PreconditionFailed,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.UNIMPLEMENTED: errors.NotServed,
}


_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


def error_of(failed: grpc.RpcError, request: Message, target: str) -> GatewayError:
    """Return the error that a failed call stands for.

    request: what was sent; its request_id and name identify the call in the error, nothing else of
    it is kept. target: where it was sent, for the text when nobody answered there.
    """
    facts = _read_details(failed)
    code = failed.code()
    kind = KIND_OF_REASON.get(facts.get("reason", "")) or KIND_OF_CODE.get(
        code, errors.GatewayFault
    )
    facts.setdefault("job_name", getattr(request, "name", ""))
    return kind(
        _message_of(failed, target, answered="reason" in facts),
        code=code,
        request_id=getattr(request, "request_id", ""),
        **facts,
    )


def error_of_status(status: status_pb2.Status, request: Message) -> GatewayError:
    """Return the error of one item of a stream, whose status is part of a reply.

    request: what was sent; its request_id identifies the item.
    """
    facts = _read_all(status.details)
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    kind = KIND_OF_REASON.get(facts.get("reason", "")) or KIND_OF_CODE.get(
        code, errors.GatewayFault
    )
    request_id = getattr(request, "request_id", "")
    return kind(status.message or code.name, code=code, request_id=request_id, **facts)


def _message_of(failed: grpc.RpcError, target: str, *, answered: bool) -> str:
    details = failed.details() or failed.code().name
    if not answered and failed.code() is grpc.StatusCode.UNAVAILABLE:
        return f"no answer from a gateway at {target} ({details})"
    if not answered and failed.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no answer from {target} in the time allowed"
    return details


def _read_details(failed: grpc.RpcError) -> dict[str, Any]:
    try:
        status = rpc_status.from_call(cast("grpc.Call", failed))
    except (ValueError, DecodeError):  # a proxy rewrote the status, or the bytes are broken
        status = None
    return _read_all(status.details) if isinstance(status, status_pb2.Status) else {}


def _read_all(details: Iterable[AnyMessage]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for detail in details:
        for kind, read in _READERS.items():
            message = kind()
            try:
                if detail.Unpack(message):
                    facts |= read(message)
            except DecodeError:
                continue
    return facts


def _read_error_info(info: error_details_pb2.ErrorInfo) -> dict[str, Any]:
    if info.domain != DOMAIN:
        return {}
    metadata = dict(info.metadata)
    named = {name: metadata.pop(name, "") for name in ("decision_id", "call_id")}
    return {"reason": info.reason, "metadata": metadata, **named}


def _read_bad_request(bad: error_details_pb2.BadRequest) -> dict[str, Any]:
    wrong = [Violation(field.field, field.description) for field in bad.field_violations]
    return {"violations": wrong}


def _read_quota_failure(failure: error_details_pb2.QuotaFailure) -> dict[str, Any]:
    full = [
        QuotaViolation(
            subject=violation.subject,
            description=violation.description,
            limit_id=violation.quota_id,
            metric=violation.quota_metric,
            limit=violation.quota_value,
        )
        for violation in failure.violations
    ]
    return {"quota_violations": full}


def _read_retry_info(info: error_details_pb2.RetryInfo) -> dict[str, Any]:
    return {"retry_after_seconds": info.retry_delay.ToNanoseconds() / 1e9}


def _read_resource_info(info: error_details_pb2.ResourceInfo) -> dict[str, Any]:
    return {"job_name": info.resource_name}


_READERS: Final[Mapping[type[Message], Callable[[Any], dict[str, Any]]]] = {
    error_details_pb2.ErrorInfo: _read_error_info,
    error_details_pb2.BadRequest: _read_bad_request,
    error_details_pb2.QuotaFailure: _read_quota_failure,
    error_details_pb2.RetryInfo: _read_retry_info,
    error_details_pb2.ResourceInfo: _read_resource_info,
}
