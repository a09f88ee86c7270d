"""What an upstream answer means for a submitted job: the change it brings, and the refusal.

Decides accepted, rejected (the quota is returned) or unknown (the quota stays held). Pure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ims_gateway import errors
from ims_gateway.jobs.record import Change
from ims_gateway.jobs.states import State
from ims_gateway.upstream.errors import (
    NotSent,
    OutcomeUnknown,
    Throttled,
    UpstreamError,
)
from ims_gateway.upstream.reply import SubmitReply

# For faults of the gateway itself between admission and settlement: the call may have gone out.
INTERRUPTED: Final = Change(
    State.SUBMIT_UNKNOWN, cause="interrupted", failure_code="INTERRUPTED", failure_message=""
)
# Code and message of failures in which the service said neither.
UNKNOWN: Final = ("SUBMIT_OUTCOME_UNKNOWN", "no clear answer came")
UNREACHED: Final = ("UPSTREAM_UNREACHABLE", "the service was not reached")


class Outcome(StrEnum):
    """What came of a submit that was admitted; or recalled, where there was nothing to submit."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    NEVER_SENT = "never_sent"
    RECALLED = "recalled"


def accepted(reply: SubmitReply, first_poll: int) -> Change:
    """Return the change of a job that the service took; `first_poll` in microseconds."""
    return Change(
        State.QUEUED,
        cause="accepted",
        upstream_job_id=reply.job_id,
        upstream_request_id=reply.request_id,
        next_poll_time=first_poll,
    )


def never_sent(refusal: errors.TryLater) -> Change:
    """Return the change of a job for which no call was made."""
    return Change(
        State.REJECTED,
        cause="never sent",
        failure_code=errors.reason_name(refusal.reason),
        failure_message=refusal.message,
    )


def failed(error: UpstreamError) -> Change:
    """Return the change of a job whose submit failed in this way."""
    unknown = isinstance(error, OutcomeUnknown)
    own_code, own_message = UNKNOWN if unknown else UNREACHED
    return Change(
        State.SUBMIT_UNKNOWN if unknown else State.REJECTED,
        # For the operator. The failure is for the tenant, and says nothing of hosts and files.
        cause=str(error),
        upstream_request_id=error.request_id,
        failure_code=error.code or own_code,
        failure_message=error.message or own_message,
    )


def outcome_of(error: UpstreamError) -> Outcome:
    """Return what came of a submit that failed in this way."""
    if isinstance(error, OutcomeUnknown):
        return Outcome.UNKNOWN
    return Outcome.NEVER_SENT if isinstance(error, NotSent) else Outcome.REJECTED


def holds_in(state: State) -> str:
    """Return what has become of a job's holds in a state, in the ledger's own words."""
    if state is State.REJECTED:
        return "released"
    return "held" if state in (State.SUBMITTING, State.SUBMIT_UNKNOWN) else "committed"


def refusal_of(error: UpstreamError, job_name: str) -> errors.Refusal:
    """Return what the caller of a submit is told about the failure."""
    if isinstance(error, OutcomeUnknown):
        return errors.SubmitOutcomeUnknown(job_name)
    return _clear_refusal(error)


def read_refusal_of(error: UpstreamError) -> errors.Refusal:
    """Return what the caller of a query or cancellation is told: repeating those is safe."""
    if isinstance(error, OutcomeUnknown):
        return errors.UpstreamUnclear("Intelligent Media Services gave no clear answer")
    return _clear_refusal(error)


def _clear_refusal(error: UpstreamError) -> errors.Refusal:
    if isinstance(error, Throttled):
        return errors.UpstreamThrottled(
            "Intelligent Media Services asks for fewer calls",
            retry_after_seconds=error.retry_after_seconds or 1.0,
        )
    if isinstance(error, NotSent):
        return errors.UpstreamUnreachable("Intelligent Media Services was not reached")
    return errors.UpstreamRefused(error.code or "", error.message, error.request_id or "")
