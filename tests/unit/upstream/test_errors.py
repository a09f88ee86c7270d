import pytest

from ims_gateway.upstream.errors import (
    CODES,
    JOB_NOT_FOUND,
    AccountRefused,
    NotSent,
    OutcomeUnknown,
    Refused,
    Throttled,
    UpstreamError,
    kind_of,
)

# Every Code that wire facts name, and what it must come out as.
WIRE_FACTS = {
    "Throttling": Throttled,
    "Throttling.User": Throttled,
    "Throttling.Api": Throttled,
    "SignatureNonceUsed": OutcomeUnknown,
    "InvalidTimeStamp.Expired": AccountRefused,
    "InvalidAccessKeyId.Inactive": AccountRefused,
    "InvalidAccessKeyId.NotFound": AccountRefused,
    "MissingParameter": Refused,
    "MissingFunctionName": Refused,
    "InvalidParameter": Refused,
    "InvalidParameter.FunctionNotSupported": Refused,
    "InvalidParameter.JobNotFound": Refused,
    "InvalidParameterName": Refused,
    "IncompleteSignature": AccountRefused,
    "SignatureDoesNotMatch": AccountRefused,
    "Forbidden": AccountRefused,
    "Forbidden.RAM": AccountRefused,
    "Forbidden.SubscriptionRequired": AccountRefused,
    "InvalidApi.NotFound": AccountRefused,
    "InternalError": OutcomeUnknown,
    "ServiceUnavailable": OutcomeUnknown,
    "ServiceUnAvailable": OutcomeUnknown,
}


@pytest.mark.parametrize(("code", "kind"), WIRE_FACTS.items())
def test_known_codes_have_their_kind(code, kind):
    """Each documented Code says about the job what the facts say."""
    assert kind_of(code) is kind


@pytest.mark.parametrize(
    "code", ["", "Brandnew", "throttling", "Throttled", "Success", "ForbiddenFruit", "Invalid"]
)
def test_codes_in_no_row_leave_the_outcome_unknown(code):
    """What nobody has classified never frees quota, however much it looks like a known Code."""
    assert kind_of(code) is OutcomeUnknown


def test_every_row_of_the_table_is_reachable():
    """No row stands behind one that takes all of its codes."""
    for pattern, kind in CODES:
        assert kind_of(pattern.removesuffix("*")) is kind


def test_missing_security_token_is_not_a_missing_parameter():
    """A row stands before the wider one that would take it in."""
    assert kind_of("MissingSecurityToken") is AccountRefused


def test_job_not_found_is_a_refusal():
    """The Code that callers look for is one that refuses."""
    assert kind_of(JOB_NOT_FOUND) is Refused


def test_an_error_tells_its_facts_but_not_the_services_words():
    """str() is fit for a log; the message, which may quote the job, stays an attribute."""
    error = Refused(
        "SubmitIProductionJob",
        "the service answered InvalidParameter",
        code="InvalidParameter",
        message="oss://private/film.mp4 is not there",
        request_id="C184",
        http_status=400,
    )
    assert str(error) == (
        "SubmitIProductionJob: the service answered InvalidParameter "
        "(Code InvalidParameter, HTTP 400, RequestId C184)"
    )
    assert error.message == "oss://private/film.mp4 is not there"
    assert "private" not in repr(error)


def test_only_the_four_outcomes_say_what_became_of_a_call():
    """The base class is never an answer, and the outcomes do not overlap."""
    assert set(UpstreamError.__subclasses__()) == {NotSent, Throttled, Refused, OutcomeUnknown}
