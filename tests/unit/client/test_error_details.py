import pickle

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2
from grpc import aio

from ims_gateway_client import Client, QuotaViolation, Violation, errors
from ims_gateway_client.error_details import KIND_OF_CODE, KIND_OF_REASON, error_of
from imsgateway.v1.errors_pb2 import ErrorReason
from imsgateway.v1.job_service_pb2 import GetJobRequest

NAME = "tenants/acme/jobs/0198-a"
KEY = "imsk_test_secret"


def _kinds(kind=errors.GatewayError):
    for below in kind.__subclasses__():
        yield below
        yield from _kinds(below)


@pytest.fixture
def fail(client, gateway):
    """Return a function that lets a read fail as told and gives the error."""

    def failed(status):
        gateway.answers["GetJob"] = [status]
        with pytest.raises(errors.GatewayError) as caught:
            client.get(NAME)
        return caught.value

    return failed


def test_every_reason_of_the_contract_has_its_kind():
    """A reason that is added to errors.proto fails here until it is mapped."""
    reasons = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118
    assert reasons - {"UNSPECIFIED"} == set(KIND_OF_REASON)


def test_every_kind_can_happen():
    """No class of the tree is dead: a reason or a code leads to each, or to one below it."""
    reached = {*KIND_OF_REASON.values(), *KIND_OF_CODE.values()}
    assert set(_kinds()) == reached


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    """A reader of errors.py sees every kind in five seconds."""
    drawn = {
        word
        for line in errors.__doc__.splitlines()
        if "── " in line
        for word in [line.split("── ")[1].split()[0]]
    }
    assert drawn == {kind.__name__ for kind in _kinds()}


@pytest.mark.parametrize(("reason", "kind"), KIND_OF_REASON.items())
def test_the_reason_decides_the_kind(client, gateway, refuse, reason, kind):
    """The reason is worth more than the status code."""
    gateway.answers["CancelJob"] = [refuse(grpc.StatusCode.ABORTED, reason)]
    with pytest.raises(errors.GatewayError) as caught:
        client.cancel(NAME)
    assert type(caught.value) is kind
    assert caught.value.reason == reason


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.value[0]])
def test_without_a_reason_the_code_decides(client, gateway, refuse, code):
    """A proxy's refusal has a kind too, and what nobody names is a fault."""
    gateway.answers["CancelJob"] = [refuse(code)]
    with pytest.raises(errors.GatewayError) as caught:
        client.cancel(NAME)
    assert type(caught.value) is KIND_OF_CODE.get(code, errors.GatewayFault)
    assert caught.value.code is code
    assert caught.value.reason == ""


def test_all_violations_are_read(fail, refuse):
    """BadRequest comes as pairs of path and description, and stands in the text."""
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="job.priority", description="must be at most 10")
    bad.field_violations.add(field="job.cover.output.uri", description="must hold {sequenceId}")
    error = fail(refuse(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", bad))
    assert error.violations == (
        Violation("job.priority", "must be at most 10"),
        Violation("job.cover.output.uri", "must hold {sequenceId}"),
    )
    assert str(error) == (
        "INVALID_REQUEST: told to; job.priority: must be at most 10; "
        "job.cover.output.uri: must hold {sequenceId}"
    )


def test_limits_and_the_time_to_retry_are_read(fail, refuse, retry_after):
    """QuotaFailure names the limit, RetryInfo the wait."""
    failure = error_details_pb2.QuotaFailure()
    failure.violations.add(
        subject="tenants/acme",
        description="limit daily of 100 is reached",
        quota_metric="submit/day",
        quota_id="daily",
        quota_value=100,
    )
    status = refuse(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", failure, retry_after(1.25)
    )
    error = fail(status)
    assert isinstance(error, errors.LimitExceeded)
    assert error.retry_after_seconds == 1.25
    assert error.quota_violations == (
        QuotaViolation("tenants/acme", "limit daily of 100 is reached", "daily", "submit/day", 100),
    )


def test_no_retry_info_means_no_time(fail, refuse):
    """Where waiting does not help, there is no number to wait for."""
    error = fail(refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"))
    assert error.retry_after_seconds is None


def test_ids_and_metadata_are_read(fail, refuse):
    """What finds the record has a field; the rest of ErrorInfo stays together."""
    status = refuse(
        grpc.StatusCode.PERMISSION_DENIED,
        "POLICY_DENIED",
        decision_id="d-1",
        call_id="c-1",
        dimension="write",
    )
    error = fail(status)
    assert (error.decision_id, error.call_id) == ("d-1", "c-1")
    assert error.metadata == {"dimension": "write"}


def test_the_job_of_an_unknown_outcome_is_named(fail, refuse):
    """ResourceInfo is worth more than the name that was asked for."""
    resource = error_details_pb2.ResourceInfo(resource_name="tenants/acme/jobs/lost")
    error = fail(refuse(grpc.StatusCode.UNKNOWN, "SUBMIT_OUTCOME_UNKNOWN", resource))
    assert isinstance(error, errors.OutcomeUnknown)
    assert error.job_name == "tenants/acme/jobs/lost"


def test_unknown_and_broken_details_are_passed_over(fail, refuse):
    """A detail of a later contract, or one that cannot be read, hides nothing else."""
    status = refuse(grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", error_details_pb2.Help())
    status.details.add(type_url="type.googleapis.com/google.rpc.BadRequest", value=b"\xff")
    status.details.append(AnyMessage(type_url="type.googleapis.com/later.Detail", value=b"x"))
    error = fail(status)
    assert error.reason == "JOB_NOT_FOUND"
    assert error.violations == ()


def test_anothers_error_info_is_not_ours(fail, refuse):
    """A reason of another domain does not decide the kind."""
    other = error_details_pb2.ErrorInfo(reason="SUBMIT_OUTCOME_UNKNOWN", domain="proxy.example")
    error = fail(refuse(grpc.StatusCode.UNKNOWN, "", other))
    assert type(error) is errors.GatewayFault
    assert error.reason == ""


@pytest.mark.parametrize("details", [b"\xff\xff", b"\x08\x05"], ids=["broken", "other code"])
def test_a_status_that_cannot_be_read_leaves_the_code(details):
    """A proxy may have rewritten the status; the call still fails with what is known."""
    failed = aio.AioRpcError(
        grpc.StatusCode.PERMISSION_DENIED,
        aio.Metadata(),
        aio.Metadata(("grpc-status-details-bin", details)),
        details="no",
    )
    error = error_of(failed, GetJobRequest(name=NAME), "host:1")
    assert type(error) is errors.PolicyDenied
    assert (error.message, error.job_name) == ("no", NAME)


@pytest.mark.parametrize("kind", [errors.GatewayError, *_kinds()])
def test_errors_survive_another_process(kind):
    """A worker of a process pool can hand its error back."""
    error = kind("why", code=grpc.StatusCode.ABORTED, violations=[Violation("a", "b")], call_id="c")
    error.request_id = "r"
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - made a moment ago
    assert type(copied) is kind
    assert vars(copied) == vars(error)
    assert str(copied) == str(error) == "ABORTED: why; a: b"


def test_no_error_shows_the_credential(client, gateway, refuse):
    """Neither the text nor the chain of causes nor the client's repr holds the key."""
    gateway.answers["GetJob"] = [refuse(grpc.StatusCode.UNAUTHENTICATED, "NOT_AUTHENTICATED")]
    with pytest.raises(errors.NotAuthenticated) as caught:
        client.get(NAME)
    error = caught.value
    shown = [str(error), repr(error), repr(error.__cause__), str(vars(error)), repr(client)]
    assert KEY not in "".join(shown)
    with Client(gateway.target, api_key=KEY) as named:
        assert KEY not in repr(named)
