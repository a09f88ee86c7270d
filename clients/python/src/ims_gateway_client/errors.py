# ruff: noqa: N818 - the names say what happened, as the callers read them in an except clause
"""What can go wrong, by kind. Catch the kind that you can act on.

    GatewayError            any of them; its fields hold what the gateway said
    ├── NotAuthenticated    no credential, or one that was not accepted
    ├── PolicyDenied        no grant allows it; decision_id finds the record
    ├── InvalidRequest      the input is wrong; violations name every field
    ├── RequestIdReused     the request_id belongs to another job
    ├── LimitExceeded       a limit has no room; quota_violations name it
    │   ├── RateExceeded    too fast; retry_after_seconds says when to try again
    │   └── QuotaExceeded   too many or too much; retry_after_seconds where waiting helps
    ├── JobNotFound         there is no such job that the caller may see
    ├── PreconditionFailed  the input is right and still cannot be done
    │   ├── UpstreamRefused the media service refused the job; metadata holds its code
    │   └── JobStateConflict the job's state does not allow the call
    ├── OutcomeUnknown      perhaps submitted: never submit it again with a new request_id
    ├── Unavailable         no answer, or none now; repeating it (same request_id) is safe
    ├── DeadlineExceeded    no answer in time, also a TimeoutError; repeat like Unavailable
    ├── NotServed           the gateway does not offer the call
    └── GatewayFault        a fault of the gateway, or a code that no other kind names

This module decides nothing; error_details.py turns a failed call into one of these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with the input.

    field: path in the request, such as "job.video_detext.time_ranges[0]".
    """

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class QuotaViolation:
    """One limit that has no room.

    subject: whose limit. limit_id and metric: as in the tenant's file, empty where not said.
    limit: its value in the metric's unit, 0 where not said.
    """

    subject: str
    description: str
    limit_id: str = ""
    metric: str = ""
    limit: int = 0


class GatewayError(Exception):
    """A call that failed, with everything that the gateway said about it.

    code: the gRPC status. reason: a name of ErrorReason in errors.proto without its prefix, or "".
    message: one sentence for people. retry_after_seconds: when to try again; None where not said.
    decision_id: finds the call in the gateway's records. call_id: another id of it, where given.
    job_name: the job that the error is about. request_id: that of the failed submit, with which it
    is safe to repeat. metadata: the other members of the gateway's ErrorInfo.
    Texts that were not said are "". Holds neither the credential nor the job.
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        reason: str = "",
        violations: Sequence[Violation] = (),
        quota_violations: Sequence[QuotaViolation] = (),
        retry_after_seconds: float | None = None,
        decision_id: str = "",
        call_id: str = "",
        job_name: str = "",
        request_id: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        # Only the message is an argument of Exception, so that pickling works unaided.
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.violations = tuple(violations)
        self.quota_violations = tuple(quota_violations)
        self.retry_after_seconds = retry_after_seconds
        self.decision_id = decision_id
        self.call_id = call_id
        self.job_name = job_name
        self.request_id = request_id
        self.metadata = dict(metadata or {})

    def __str__(self) -> str:
        wrong = [f"{violation.field}: {violation.description}" for violation in self.violations]
        full = [violation.description for violation in self.quota_violations]
        return "; ".join([f"{self.reason or self.code.name}: {self.message}", *wrong, *full])


class NotAuthenticated(GatewayError):
    """No credential was sent, or one that was not accepted."""


class PolicyDenied(GatewayError):
    """No grant allows the call, or a rule forbids it."""


class InvalidRequest(GatewayError):
    """The input is wrong. Nothing was asked of policy, quota or the media service."""


class RequestIdReused(GatewayError):
    """The request_id was used before, with another job."""


class LimitExceeded(GatewayError):
    """A limit has no room for the call. Nothing was charged."""


class RateExceeded(LimitExceeded):
    """Calls come too fast."""


class QuotaExceeded(LimitExceeded):
    """A count, the number of concurrent jobs or a budget is used up."""


class JobNotFound(GatewayError):
    """There is no such job that the caller may see."""


class PreconditionFailed(GatewayError):
    """The input is right, yet the call cannot be done."""


class UpstreamRefused(PreconditionFailed):
    """The media service refused the job."""


class JobStateConflict(PreconditionFailed):
    """The job's state does not allow the call."""


class OutcomeUnknown(GatewayError):
    """Nobody knows whether the media service took the job; job_name names it.

    Never submit it again with a new request_id: it could be paid twice. Follow the job instead; an
    operator of the platform resolves it.
    """


class Unavailable(GatewayError):
    """The gateway cannot be reached, or cannot serve the call now."""


class DeadlineExceeded(GatewayError, TimeoutError):
    """No answer came in the time allowed.

    A submit goes on without its caller: repeat it with the same request_id to learn its outcome.
    """


class NotServed(GatewayError):
    """The gateway does not offer the call."""


class GatewayFault(GatewayError):
    """A fault of the gateway; decision_id finds it in the gateway's log."""
