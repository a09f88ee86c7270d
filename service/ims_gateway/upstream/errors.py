"""What a failed call to the service says about the job.

* UpstreamError
  x NotSent           the request surely never reached the service
    + Unreached       because there was no connection to it: not because of us
  x Throttled         the service said "not now", and did nothing
  x Refused           the service said no, and did nothing
    + AccountRefused  because of the key, its rights, the clock or the API: not because of the job
  x OutcomeUnknown    the request went out and no clear answer came back: the job may exist

After a submit, the first three give the quota back. Only NotSent and Throttled are worth another
try. OutcomeUnknown is never one: the service has no idempotency token, so a second submit may be
a second, billed job. A query or a cancel fails in the same ways, and may always be repeated.

Decides which answer belongs to which kind, by Code and never by HTTP status: the documentation
disagrees with itself on the status. Knows nothing of HTTP libraries; `transport` classifies
what never became an answer.
"""

from ims_gateway.upstream.redaction import redact


class UpstreamError(Exception):
    """A call failed. Only the subclasses are raised.

    action: the API operation. reason: what happened, in our words. code, message: the service's,
    where it answered; the message is bounded and redacted, and may quote the caller's own job, so
    it belongs into the answer to that caller and not into a log. request_id, http_status: as
    far as there was an answer. retry_after_seconds: how long the service asks to wait, None
    where it did not say. resends: how often the request was sent again before this was known.
    str() holds all of it but message and resends.
    """

    def __init__(
        self,
        action: str,
        reason: str,
        *,
        code: str | None = None,
        message: str = "",
        request_id: str | None = None,
        http_status: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        facts = (("Code", code), ("HTTP", http_status), ("RequestId", request_id))
        known = ", ".join([f"{name} {value}" for name, value in facts if value is not None])
        super().__init__(f"{action}: {reason}" + (f" ({known})" if known else ""))
        self.action = action
        self.reason = reason
        self.code = code
        self.message = redact(message)
        self.request_id = request_id
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds
        self.resends = 0


class NotSent(UpstreamError):  # noqa: N818 - names the outcome, as the other three do
    """No byte of the request left for the service. It is safe to send it again."""


class Unreached(NotSent):
    """No connection to the service could be had."""


class Throttled(UpstreamError):  # noqa: N818 - likewise
    """The service's flow control turned the call away. Wait `retry_after_seconds`, if given."""


class Refused(UpstreamError):  # noqa: N818 - likewise
    """The service refuses this job, and would refuse it again."""


class AccountRefused(Refused):
    """The service refuses this account, whatever job it sends. The operator has to act."""


class OutcomeUnknown(UpstreamError):  # noqa: N818 - likewise
    """Nobody can tell whether the service did what it was asked for."""


# The Code that a query or a cancel gets for a job id that the service does not know.
JOB_NOT_FOUND = "InvalidParameter.JobNotFound"

# Code -> what it says about the job. "X" stands for X and X.anything, "X*" for whatever begins
# with X; the first row that fits counts. Codes are those of wire facts and of the API gateway's
# common table. A Code in no row is OutcomeUnknown, because a wrong "refused" frees the quota for a
# second paid job, while a wrong "unknown" costs an operator one look.
CODES: tuple[tuple[str, type[UpstreamError]], ...] = (
    # Flow control stands in front of the service: what it stops was never looked at.
    ("Throttling", Throttled),
    # Our nonces are random and used once. A used one means that these very bytes arrived before
    # (a resend, a middlebox), and the first arrival may have made the job.
    ("SignatureNonceUsed", OutcomeUnknown),
    # Server faults. They can happen after the job was written down and before the answer was.
    ("InternalError", OutcomeUnknown),
    # Also sent by the API gateway for a service that took the call and did not answer in time.
    # Both spellings occur.
    ("ServiceUnavailable", OutcomeUnknown),
    ("ServiceUnAvailable", OutcomeUnknown),
    # Authentication comes before everything else: nothing was done for a caller not yet known.
    ("SignatureDoesNotMatch", AccountRefused),
    ("IncompleteSignature", AccountRefused),
    ("InvalidSignatureMethod", AccountRefused),
    ("InvalidAccessKeyId", AccountRefused),
    ("MissingSecurityToken", AccountRefused),
    ("InvalidSecurityToken", AccountRefused),
    # Our clock is off, or the request waited too long in between. The date is part of what
    # authentication checks.
    ("InvalidTimeStamp", AccountRefused),
    # Authorization (RAM, an account in arrears or without a subscription) is checked before
    # the operation runs.
    ("Forbidden", AccountRefused),
    # Routing: no such product, operation or protocol at this endpoint, so nothing could run.
    ("InvalidApi", AccountRefused),
    ("InvalidProduct", AccountRefused),
    ("InvalidProtocol", AccountRefused),
    ("UnsupportedHTTPMethod", AccountRefused),
    # Parameters are checked before a job is made: a name that is missing (MissingInput), ...
    ("Missing*", Refused),
    # ... or a value that does not do (InvalidParameter.FunctionNotSupported).
    ("InvalidParameter*", Refused),
)


def kind_of(code: str) -> type[UpstreamError]:
    """Return the kind of failure that a Code of the service stands for."""
    for pattern, kind in CODES:
        if _fits(code, pattern):
            return kind
    return OutcomeUnknown


def _fits(code: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        return code.startswith(pattern[:-1])
    return code == pattern or code.startswith(pattern + ".")
