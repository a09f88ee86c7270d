"""What an answer of the service means for a submitted job and for its caller."""

import re

import pytest

from ims_gateway import errors, settlement
from ims_gateway.jobs.states import TRANSITIONS, State
from ims_gateway.upstream.errors import (
    AccountRefused,
    NotSent,
    OutcomeUnknown,
    Refused,
    Throttled,
    Unreached,
    UpstreamError,
)
from ims_gateway.upstream.reply import SubmitReply

JOB = "tenants/acme/jobs/1"
ADDRESS = "ConnectError: cannot connect to 10.1.2.3:443 with /run/secrets/account.yaml"
SAID = {"code": "InvalidParameter.Input", "message": "Input is bad", "request_id": "r-1"}
# How a submit failed; the job's state then, its failure's code and text, and what the caller gets.
FAILURES = {
    NotSent: (
        NotSent("Submit", ADDRESS),
        (State.REJECTED, "UPSTREAM_UNREACHABLE", "the service was not reached"),
        (errors.UpstreamUnreachable, errors.UpstreamUnreachable),
    ),
    Unreached: (
        Unreached("Submit", ADDRESS),
        (State.REJECTED, "UPSTREAM_UNREACHABLE", "the service was not reached"),
        (errors.UpstreamUnreachable, errors.UpstreamUnreachable),
    ),
    Throttled: (
        Throttled(
            "Submit", "said so", code="Throttling.User", message="Slow down", request_id="r-1"
        ),
        (State.REJECTED, "Throttling.User", "Slow down"),
        (errors.UpstreamThrottled, errors.UpstreamThrottled),
    ),
    Refused: (
        Refused("Submit", "said so", **SAID),
        (State.REJECTED, "InvalidParameter.Input", "Input is bad"),
        (errors.UpstreamRefused, errors.UpstreamRefused),
    ),
    AccountRefused: (
        AccountRefused("Submit", "said so", code="Forbidden.RAM", message="No", request_id="r-1"),
        (State.REJECTED, "Forbidden.RAM", "No"),
        (errors.UpstreamRefused, errors.UpstreamRefused),
    ),
    OutcomeUnknown: (
        OutcomeUnknown("Submit", ADDRESS),
        (State.SUBMIT_UNKNOWN, "SUBMIT_OUTCOME_UNKNOWN", "no clear answer came"),
        (errors.SubmitOutcomeUnknown, errors.UpstreamUnclear),
    ),
}


def kinds(kind=UpstreamError):
    """Return every class of failure below a class."""
    return {each for child in kind.__subclasses__() for each in {child} | kinds(child)}


def test_every_way_to_fail_is_looked_at_here():
    """A class that was forgotten fails."""
    assert kinds() == set(FAILURES)


@pytest.mark.parametrize("kind", FAILURES, ids=lambda kind: kind.__name__)
def test_a_failure_rejects_the_job_or_leaves_it_unknown(kind):
    """Only where nobody can tell, the quota stays held."""
    error, (state, code, message), _ = FAILURES[kind]
    change = settlement.failed(error)

    assert (change.state, change.failure_code, change.failure_message) == (state, code, message)
    assert change.upstream_request_id == error.request_id
    assert change.upstream_job_id is None
    assert change.state in TRANSITIONS[State.SUBMITTING]


@pytest.mark.parametrize("kind", FAILURES, ids=lambda kind: kind.__name__)
def test_a_caller_is_told_what_it_may_do(kind):
    """A query or cancellation without a clear answer may be repeated, a submit may not."""
    error, _, (submit, read) = FAILURES[kind]

    assert type(settlement.refusal_of(error, JOB)) is submit
    assert type(settlement.read_refusal_of(error)) is read


@pytest.mark.parametrize("kind", FAILURES, ids=lambda kind: kind.__name__)
def test_nothing_is_told_of_our_hosts_and_files(kind):
    """The cause, for the operator, has it all; the job and the refusal are the tenant's to see."""
    error = FAILURES[kind][0]
    change = settlement.failed(error)

    assert change.cause == str(error)
    for told in (
        change.failure_code,
        change.failure_message,
        settlement.refusal_of(error, JOB).message,
        settlement.read_refusal_of(error).message,
    ):
        assert "10.1.2.3" not in told
        assert "/run/secrets" not in told


def test_own_codes_of_failures_are_spelled_as_the_contract_says():
    """UPPER_SNAKE_CASE, unlike the service's."""
    own = [
        settlement.INTERRUPTED.failure_code,
        settlement.never_sent(errors.UpstreamBusy("x")).failure_code,
        settlement.never_sent(errors.StoreUnavailable("x")).failure_code,
        settlement.failed(NotSent("Submit", "x")).failure_code,
        settlement.failed(OutcomeUnknown("Submit", "x")).failure_code,
    ]

    assert all(re.fullmatch(r"[A-Z]+(_[A-Z]+)*", code) for code in own)


def test_an_accepted_job_is_queued_under_the_service_s_id():
    """And is asked about from then on."""
    change = settlement.accepted(SubmitReply("u-1", "r-1", 200), first_poll=77)

    assert (change.state, change.upstream_job_id, change.upstream_request_id) == (
        State.QUEUED,
        "u-1",
        "r-1",
    )
    assert change.next_poll_time == 77
    assert change.failure_code is None


def test_a_job_that_was_not_sent_is_rejected():
    """Its quota is returned, and the failure says what the caller was told."""
    change = settlement.never_sent(errors.UpstreamBusy("no time was left"))

    assert (change.state, change.failure_code) == (State.REJECTED, "UPSTREAM_BUSY")
    assert change.failure_message == "no time was left"


def test_a_fault_of_our_own_leaves_the_job_unknown():
    """The call may have gone out."""
    assert settlement.INTERRUPTED.state is State.SUBMIT_UNKNOWN


@pytest.mark.parametrize(("said", "told"), [(None, 1.0), (0.0, 1.0), (2.5, 2.5)])
def test_a_throttled_caller_waits_as_long_as_the_service_says(said, told):
    """A second where it does not say."""
    error = Throttled("Submit", "said so", code="Throttling", retry_after_seconds=said)

    assert settlement.refusal_of(error, JOB).retry_after_seconds == told


def test_a_refused_caller_gets_the_service_s_code_words_and_request_id():
    """For a ticket with Alibaba Cloud."""
    refusal = settlement.refusal_of(Refused("Submit", "said so", **SAID), JOB)

    assert refusal.message.endswith("InvalidParameter.Input: Input is bad")
    assert dict(refusal.metadata) == {
        "upstream_code": "InvalidParameter.Input",
        "upstream_request_id": "r-1",
    }


def test_an_unknown_outcome_names_the_job():
    """It is the only way to find out what became of it."""
    refusal = settlement.refusal_of(OutcomeUnknown("Submit", "x"), JOB)

    assert refusal.job_name == JOB
