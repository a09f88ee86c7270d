"""What imsctl's exit codes mean, and which outcome has which. Prints nothing."""

from enum import IntEnum
from typing import Final

from ims_gateway_client import errors, jobs
from imsgateway.v1.job_pb2 import Job


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    ENDED_BADLY = 1
    USAGE = 2
    INVALID = 3
    NOT_AUTHENTICATED = 4
    DENIED = 5
    LIMIT = 6
    NOT_FOUND = 7
    UNAVAILABLE = 8
    OUTCOME_UNKNOWN = 9
    OTHER = 10


MEANINGS: Final = {
    ExitCode.OK: "done",
    ExitCode.ENDED_BADLY: "the job failed, was cancelled or was rejected (submit, watch)",
    ExitCode.USAGE: "wrong flags, or a job file that cannot be read",
    ExitCode.INVALID: "the gateway refused the input; each wrong field is named",
    ExitCode.NOT_AUTHENTICATED: "no API key, or one that was not accepted",
    ExitCode.DENIED: "the policy denies it (also the answer of explain and --dry-run)",
    ExitCode.LIMIT: "a rate or quota has no room (also the answer of --dry-run)",
    ExitCode.NOT_FOUND: "there is no such job that you may see",
    ExitCode.UNAVAILABLE: "no answer, or none in time; it is safe to repeat",
    ExitCode.OUTCOME_UNKNOWN: "perhaps submitted: never submit it again, follow the job",
    ExitCode.OTHER: "anything else; the message says what",
}

_OF_KIND: Final = {
    errors.InvalidRequest: ExitCode.INVALID,
    errors.NotAuthenticated: ExitCode.NOT_AUTHENTICATED,
    errors.PolicyDenied: ExitCode.DENIED,
    errors.LimitExceeded: ExitCode.LIMIT,
    errors.JobNotFound: ExitCode.NOT_FOUND,
    errors.Unavailable: ExitCode.UNAVAILABLE,
    errors.DeadlineExceeded: ExitCode.UNAVAILABLE,
    errors.OutcomeUnknown: ExitCode.OUTCOME_UNKNOWN,
}


def of_error(error: errors.GatewayError) -> ExitCode:
    """Return the code of a failed call."""
    return next(
        (code for kind, code in _OF_KIND.items() if isinstance(error, kind)), ExitCode.OTHER
    )


def of_job(job: Job) -> ExitCode:
    """Return the code of a job that is followed no further; not to have ended is no failure."""
    if job.state == Job.STATE_SUBMIT_UNKNOWN:
        return ExitCode.OUTCOME_UNKNOWN
    if jobs.is_terminal(job) and not jobs.has_succeeded(job):
        return ExitCode.ENDED_BADLY
    return ExitCode.OK
