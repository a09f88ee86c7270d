"""Every way in which the gateway refuses a call.

    Refusal
    ├── NotAuthenticated          UNAUTHENTICATED      never which check failed
    ├── InvalidRequest            INVALID_ARGUMENT     every violation with its path
    ├── PolicyDenied              PERMISSION_DENIED    which dimension failed
    ├── RequestIdReused           ALREADY_EXISTS
    ├── LimitExceeded             RESOURCE_EXHAUSTED
    │   ├── RateExceeded            waiting helps
    │   └── QuotaExceeded           waiting helps where the limit has room for the job at all
    ├── JobNotFound               NOT_FOUND            not yours and not there are the same
    ├── JobStateConflict          FAILED_PRECONDITION
    │   ├── ResolutionMismatch      the upstream job is another one: which members differ
    │   └── ResolutionTooEarly      the submit may still arrive; waiting helps
    ├── UpstreamRefused           FAILED_PRECONDITION  the service's code and request id
    ├── TryLater                  UNAVAILABLE          nothing was sent, or it surely did not count
    │   ├── UpstreamThrottled
    │   ├── UpstreamUnreachable
    │   ├── UpstreamBusy
    │   ├── UpstreamUnclear         queries and cancellations only
    │   ├── StoreUnavailable
    │   └── GatewayBusy             too many calls, or the process shuts down
    ├── SubmitOutcomeUnknown      UNKNOWN              never to be submitted anew
    ├── NotImplementedYet         UNIMPLEMENTED
    └── Fault                     INTERNAL             a fixed text; the log has the rest

Each class knows its status code and its reason; `api/status.py` is the one place that turns them
into a google.rpc.Status. Whatever is not a Refusal reaches a caller as a Fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from google.rpc import code_pb2

from imsgateway.v1 import errors_pb2

# In characters. A status travels in trailers, of which gRPC takes 8 KiB.
LONGEST_LIST: Final = 240


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """An answer other than the one the caller hoped for.

    `message` is for the caller; it never holds a secret, an address or another tenant's data.
    """

    code: ClassVar[int]
    reason: ClassVar[int]

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def metadata(self) -> Mapping[str, str]:
        """What ErrorInfo says beside the reason."""
        return {}


class NotAuthenticated(Refusal):
    """No credential, or one that was not accepted."""

    code = code_pb2.UNAUTHENTICATED
    reason = errors_pb2.ERROR_REASON_NOT_AUTHENTICATED

    def __init__(self) -> None:
        super().__init__(
            "the call needs a valid credential: authorization: Bearer <API key or token>"
        )


def reason_name(reason: int) -> str:
    """Return a reason as ErrorInfo spells it."""
    return errors_pb2.ErrorReason.Name(reason).removeprefix("ERROR_REASON_")


@dataclass(frozen=True, slots=True)
class Violation:
    """One fault of a request: the path of the field, the id of the rule, and what is wrong."""

    path: str
    rule: str
    description: str


class InvalidRequest(Refusal):
    """The request breaks rules of the contract; all of them are listed."""

    code = code_pb2.INVALID_ARGUMENT
    reason = errors_pb2.ERROR_REASON_INVALID_REQUEST

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        paths = ", ".join(dict.fromkeys(violation.path or "request" for violation in violations))
        if len(paths) > LONGEST_LIST:
            paths = f"{paths[:LONGEST_LIST]}… ({len(violations)} violations)"
        super().__init__(f"the request is invalid: {paths}")
        self.violations = violations


class PolicyDenied(Refusal):
    """No grant allows the call, or a rule denies it."""

    code = code_pb2.PERMISSION_DENIED
    reason = errors_pb2.ERROR_REASON_POLICY_DENIED

    def __init__(self, message: str, *, dimension: str) -> None:
        super().__init__(message)
        self.dimension = dimension

    @property
    def metadata(self) -> Mapping[str, str]:
        """The failed dimension."""
        return {"dimension": self.dimension}


class RequestIdReused(Refusal):
    """The request id belongs to a job with another body."""

    code = code_pb2.ALREADY_EXISTS
    reason = errors_pb2.ERROR_REASON_REQUEST_ID_REUSED

    def __init__(self) -> None:
        super().__init__("request_id was used for another job: a new job needs a new request_id")


@dataclass(frozen=True, slots=True)
class LimitBreach:
    """The limit that has no room: its id, metric, value and whose it is.

    `dimensions` are what it is counted for separately, as pairs of name and value.
    """

    limit_id: str
    metric: str
    value: int
    tenant: str
    retry_after_seconds: float | None
    dimensions: tuple[tuple[str, str], ...] = ()


class LimitExceeded(Refusal):
    """A limit has no room. Nothing was charged to any other limit."""

    code = code_pb2.RESOURCE_EXHAUSTED

    def __init__(self, breaches: tuple[LimitBreach, ...], time: int = 0) -> None:
        names = ", ".join(f"{breach.limit_id} ({breach.metric})" for breach in breaches)
        super().__init__(f"limit reached: {names}")
        self.breaches = breaches
        # When it was decided, in microseconds since the epoch.
        self.time = time

    @property
    def retry_after_seconds(self) -> float | None:
        """How long to wait until all limits have room, None where waiting does not help."""
        waits = [breach.retry_after_seconds for breach in self.breaches]
        return None if None in waits else max((wait for wait in waits if wait), default=0.0)


class RateExceeded(LimitExceeded):
    """Too many calls at once."""

    reason = errors_pb2.ERROR_REASON_RATE_EXCEEDED


class QuotaExceeded(LimitExceeded):
    """A count, the jobs open at once or a budget is used up."""

    reason = errors_pb2.ERROR_REASON_QUOTA_EXCEEDED


class JobNotFound(Refusal):
    """There is no such job that the caller may see."""

    code = code_pb2.NOT_FOUND
    reason = errors_pb2.ERROR_REASON_JOB_NOT_FOUND

    def __init__(self, name: str) -> None:
        super().__init__("no such job")
        self.name = name


class JobStateConflict(Refusal):
    """The job's state does not allow the call."""

    code = code_pb2.FAILED_PRECONDITION
    reason = errors_pb2.ERROR_REASON_JOB_STATE


class ResolutionMismatch(JobStateConflict):
    """The upstream job that an operator named is not what was submitted for the job."""

    def __init__(self, members: tuple[str, ...]) -> None:
        super().__init__(f"the upstream job differs from what was submitted: {', '.join(members)}")
        self.members = members

    @property
    def metadata(self) -> Mapping[str, str]:
        """The service's names of the members that differ; never their values."""
        return {"members": ",".join(self.members)}


class ResolutionTooEarly(JobStateConflict):
    """The service would still accept the submit, so nobody can say that it never comes."""

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__(
            "the service accepts a signed call for 15 minutes: the submit may still arrive, and "
            "the job be created after all"
        )
        self.retry_after_seconds = retry_after_seconds


class UpstreamRefused(Refusal):
    """The service answered clearly that it did not take the job."""

    code = code_pb2.FAILED_PRECONDITION
    reason = errors_pb2.ERROR_REASON_UPSTREAM_REFUSED

    def __init__(self, upstream_code: str, message: str, upstream_request_id: str) -> None:
        super().__init__(f"Intelligent Media Services refused the call: {upstream_code}: {message}")
        self.upstream_code = upstream_code
        self.upstream_request_id = upstream_request_id

    @property
    def metadata(self) -> Mapping[str, str]:
        """The service's error code and the id of its call."""
        return {
            "upstream_code": self.upstream_code,
            "upstream_request_id": self.upstream_request_id,
        }


class TryLater(Refusal):
    """Nothing counted; the same call with the same request id may be made again."""

    code = code_pb2.UNAVAILABLE

    def __init__(self, message: str, *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UpstreamThrottled(TryLater):
    """The service asks for fewer calls."""

    reason = errors_pb2.ERROR_REASON_UPSTREAM_THROTTLED


class UpstreamUnreachable(TryLater):
    """The service was surely not reached."""

    reason = errors_pb2.ERROR_REASON_UPSTREAM_UNREACHABLE


class UpstreamBusy(TryLater):
    """No upstream call can be made in the time that the caller left."""

    reason = errors_pb2.ERROR_REASON_UPSTREAM_BUSY


class UpstreamUnclear(TryLater):
    """A query or cancellation got no clear answer."""

    reason = errors_pb2.ERROR_REASON_UPSTREAM_ERROR


class StoreUnavailable(TryLater):
    """The ledger cannot be read or written."""

    reason = errors_pb2.ERROR_REASON_STORE_UNAVAILABLE


class GatewayBusy(TryLater):
    """This process serves as many calls as it may, or shuts down; another one may take the call."""

    reason = errors_pb2.ERROR_REASON_GATEWAY_BUSY


class SubmitOutcomeUnknown(Refusal):
    """The job was sent, and nobody knows whether the service took it."""

    code = code_pb2.UNKNOWN
    reason = errors_pb2.ERROR_REASON_SUBMIT_OUTCOME_UNKNOWN

    def __init__(self, job_name: str) -> None:
        super().__init__(
            "the job was sent and no clear answer came; it is recorded as SUBMIT_UNKNOWN and never "
            "sent again. Do not submit it with a new request_id: it may run, and be billed"
        )
        self.job_name = job_name


class NotImplementedYet(Refusal):
    """The call is part of the contract and not served by this version."""

    code = code_pb2.UNIMPLEMENTED
    reason = errors_pb2.ERROR_REASON_NOT_IMPLEMENTED

    def __init__(self) -> None:
        super().__init__("this version of the gateway does not serve the call")


class Fault(Refusal):
    """A fault of the gateway. What it is stays in the log, under the call's id."""

    code = code_pb2.INTERNAL
    reason = errors_pb2.ERROR_REASON_INTERNAL

    def __init__(self) -> None:
        super().__init__("the gateway failed; its operator finds the cause by the decision_id")
