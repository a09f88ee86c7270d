"""Every refusal becomes a status with its code, its reason and the details that help a caller."""

import re
from collections import Counter

import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2

from ims_gateway import errors
from ims_gateway.api.status import status_of
from imsgateway.v1 import errors_pb2

JOB = "tenants/acme/jobs/1"
RATE = errors.LimitBreach("burst", "submit/rate", 20, "acme", 0.0123)
DAY = errors.LimitBreach("daily", "submit/day", 1000, "acme", 3600.0)
NEVER = errors.LimitBreach("none", "submit/day", 0, "acme", None)
FAULTS = (
    errors.Violation("job.user_data", "string.max_len", "must be at most 256 characters"),
    errors.Violation('job.labels["x"]', "string.max_len", "must be at most 63 characters"),
)
UNAVAILABLE = {
    errors.UpstreamThrottled: "UPSTREAM_THROTTLED",
    errors.UpstreamUnreachable: "UPSTREAM_UNREACHABLE",
    errors.UpstreamBusy: "UPSTREAM_BUSY",
    errors.UpstreamUnclear: "UPSTREAM_ERROR",
    errors.StoreUnavailable: "STORE_UNAVAILABLE",
    errors.GatewayBusy: "GATEWAY_BUSY",
}
# An example of each class, with the code, the reason and the kinds of details that DESIGN and
# errors.proto promise.
EXAMPLES = {
    errors.NotAuthenticated: (
        errors.NotAuthenticated(),
        "UNAUTHENTICATED",
        "NOT_AUTHENTICATED",
        [],
    ),
    errors.InvalidRequest: (
        errors.InvalidRequest(FAULTS),
        "INVALID_ARGUMENT",
        "INVALID_REQUEST",
        ["BadRequest"],
    ),
    errors.PolicyDenied: (
        errors.PolicyDenied("no", dimension="READ"),
        "PERMISSION_DENIED",
        "POLICY_DENIED",
        [],
    ),
    errors.RequestIdReused: (errors.RequestIdReused(), "ALREADY_EXISTS", "REQUEST_ID_REUSED", []),
    errors.RateExceeded: (
        errors.RateExceeded((RATE,)),
        "RESOURCE_EXHAUSTED",
        "RATE_EXCEEDED",
        ["QuotaFailure", "RetryInfo"],
    ),
    errors.QuotaExceeded: (
        errors.QuotaExceeded((RATE, DAY)),
        "RESOURCE_EXHAUSTED",
        "QUOTA_EXCEEDED",
        ["QuotaFailure", "RetryInfo"],
    ),
    errors.JobNotFound: (errors.JobNotFound(JOB), "NOT_FOUND", "JOB_NOT_FOUND", ["ResourceInfo"]),
    errors.JobStateConflict: (
        errors.JobStateConflict("no"),
        "FAILED_PRECONDITION",
        "JOB_STATE",
        [],
    ),
    errors.ResolutionMismatch: (
        errors.ResolutionMismatch(("Input", "Output")),
        "FAILED_PRECONDITION",
        "JOB_STATE",
        [],
    ),
    errors.ResolutionTooEarly: (
        errors.ResolutionTooEarly(60.0),
        "FAILED_PRECONDITION",
        "JOB_STATE",
        ["RetryInfo"],
    ),
    errors.UpstreamRefused: (
        errors.UpstreamRefused("InvalidParameter", "no", "r-1"),
        "FAILED_PRECONDITION",
        "UPSTREAM_REFUSED",
        [],
    ),
    **{
        kind: (kind("later", retry_after_seconds=2.5), "UNAVAILABLE", reason, ["RetryInfo"])
        for kind, reason in UNAVAILABLE.items()
    },
    errors.SubmitOutcomeUnknown: (
        errors.SubmitOutcomeUnknown(JOB),
        "UNKNOWN",
        "SUBMIT_OUTCOME_UNKNOWN",
        ["ResourceInfo"],
    ),
    errors.NotImplementedYet: (errors.NotImplementedYet(), "UNIMPLEMENTED", "NOT_IMPLEMENTED", []),
    errors.Fault: (errors.Fault(), "INTERNAL", "INTERNAL", []),
}


def refusals(kind=errors.Refusal):
    """Return every class of refusal that can be raised: those that have a reason."""
    below = [each for child in kind.__subclasses__() for each in refusals(child)]
    own = hasattr(kind, "reason") and kind.__module__ == errors.__name__
    return [kind, *below] if own else below


def details(status):
    """Return a status's details, unpacked, by the name of their type."""
    found = {}
    for packed in status.details:
        name = packed.TypeName().rpartition(".")[2]
        message = getattr(error_details_pb2, name)()
        assert any_pb2.Any.Unpack(packed, message)
        assert name not in found
        found[name] = message
    return found


def test_every_refusal_has_an_example_here():
    """A class that was forgotten fails."""
    assert set(refusals()) == set(EXAMPLES)


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_a_refusal_becomes_its_status(kind):
    """Code, message, and ErrorInfo first of all details."""
    refusal, code, reason, kinds = EXAMPLES[kind]
    status = status_of(refusal, "d-1")
    found = details(status)

    assert code_pb2.Code.Name(status.code) == code
    assert status.message == refusal.message
    assert list(found) == ["ErrorInfo", *kinds]
    info = found["ErrorInfo"]
    assert (info.reason, info.domain) == (reason, "imsgateway.v1")
    assert info.metadata["decision_id"] == "d-1"


def test_reasons_are_those_of_the_contract_each_used_once():
    """Except by refinements of a class, which share its reason; and none is left over."""
    declared = set(errors_pb2.ErrorReason.values()) - {errors_pb2.ERROR_REASON_UNSPECIFIED}
    own = [kind for kind in refusals() if "reason" in vars(kind)]

    assert {kind.reason for kind in own} == declared
    assert max(Counter(kind.reason for kind in own).values()) == 1


def test_reasons_have_the_form_that_aip_193_asks_for():
    """UPPER_SNAKE_CASE, at most 63 characters, without the enum's prefix."""
    for kind in refusals():
        reason = errors.reason_name(kind.reason)
        assert re.fullmatch(r"[A-Z][A-Z0-9_]{1,61}[A-Z0-9]", reason)
        assert not reason.startswith("ERROR")


def test_what_beside_the_reason_helps_a_program_is_metadata():
    """The failed dimension; the service's code and the id of its call."""
    denied = details(status_of(EXAMPLES[errors.PolicyDenied][0], "d-1"))["ErrorInfo"]
    refused = details(status_of(EXAMPLES[errors.UpstreamRefused][0], "d-1"))["ErrorInfo"]

    assert dict(denied.metadata) == {"dimension": "READ", "decision_id": "d-1"}
    assert dict(refused.metadata) == {
        "upstream_code": "InvalidParameter",
        "upstream_request_id": "r-1",
        "decision_id": "d-1",
    }


def test_an_unknown_caller_learns_nothing():
    """But the id of the call's record."""
    (info,) = details(status_of(errors.NotAuthenticated(), "d-1")).values()

    assert dict(info.metadata) == {"decision_id": "d-1"}


def test_every_violation_is_told_with_its_path_and_rule():
    """In order."""
    found = details(status_of(errors.InvalidRequest(FAULTS), "d-1"))["BadRequest"]

    assert [(each.field, each.reason, each.description) for each in found.field_violations] == [
        (each.path, each.rule, each.description) for each in FAULTS
    ]


def trailer_bytes(status):
    """Return what a status takes up in gRPC's trailers: text percent-encoded, details base64."""
    text = "".join(chr(byte) if 32 <= byte < 127 else "%00" for byte in status.message.encode())
    return len(text) + len(status.SerializeToString()) * 4 / 3


@pytest.mark.parametrize(
    "violations",
    [
        tuple(
            errors.Violation(f"job.boxes[{n}].x", "double.lte", "is too big") for n in range(9999)
        ),
        tuple(errors.Violation(f"job.labels[{'k' * 9999}]", "r", "d") for _ in range(99)),
        tuple(errors.Violation("键" * 99, "map.key", "is too long") for _ in range(99)),
        (errors.Violation("\N{GRINNING FACE}" * 99_999, "r", "d"),),
    ],
    ids=["many", "long", "many bytes", "one, very long"],
)
def test_however_much_is_wrong_the_answer_fits_into_trailers(violations):
    """Trailers of more than 8 KiB are dropped, and RESOURCE_EXHAUSTED is all the caller sees."""
    status = status_of(errors.InvalidRequest(violations), "d" * 32)
    told = details(status)["BadRequest"].field_violations

    assert trailer_bytes(status) <= 8000
    assert told[0].field
    assert violations[0].path.startswith(told[0].field)
    if len(violations) > 1:
        assert re.fullmatch(r"and \d+ more", told[-1].description)
        assert int(told[-1].description.split()[1]) + len(told) - 1 == len(violations)


def test_a_limit_is_told_with_its_value_and_whose_it_is():
    """Each limit without room is a violation of its own."""
    found = details(status_of(errors.QuotaExceeded((RATE, DAY)), "d-1"))["QuotaFailure"]
    first, second = found.violations

    assert (first.subject, first.quota_metric, first.quota_id, first.quota_value) == (
        "tenants/acme",
        "submit/rate",
        "burst",
        20,
    )
    assert dict(second.quota_dimensions) == {"tenant": "acme"}
    assert second.quota_value == 1000


@pytest.mark.parametrize(
    ("refusal", "milliseconds"),
    [
        (errors.RateExceeded((RATE,)), 13),
        (errors.QuotaExceeded((RATE, DAY)), 3_600_000),
        (errors.QuotaExceeded((RATE, NEVER)), None),
        (errors.UpstreamThrottled("later", retry_after_seconds=2.5), 2500),
        (errors.UpstreamBusy("later"), 1000),
    ],
)
def test_a_caller_is_told_how_long_to_wait_where_that_helps(refusal, milliseconds):
    """Never less than it takes: parts of a millisecond are rounded up."""
    found = details(status_of(refusal, "d-1")).get("RetryInfo")

    assert (found and found.retry_delay.ToMilliseconds()) == milliseconds


def test_a_job_is_named_where_the_caller_has_to_look_after_it():
    """By its resource name and type."""
    found = details(status_of(errors.SubmitOutcomeUnknown(JOB), "d-1"))["ResourceInfo"]

    assert (found.resource_type, found.resource_name) == ("imsgateway.v1/Job", JOB)
    assert "SUBMIT_UNKNOWN" in found.description


def test_a_fault_says_nothing_of_itself():
    """Whatever it was, the text is the same."""
    assert status_of(errors.Fault(), "d-1").message == errors.Fault().message
