import json

import pytest

from ims_gateway.upstream.errors import OutcomeUnknown, Refused, Throttled
from ims_gateway.upstream.reply import (
    CancelReply,
    SubmitReply,
    read_cancel,
    read_object,
    read_reply,
)
from ims_gateway.upstream.reply import read_submit as submit_of


def reply(content, status=200, headers=None):
    """Read an answer to a submit."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_reply("SubmitIProductionJob", status, headers or {}, body)


def test_a_job_id_is_the_only_clear_yes():
    """The service took the job, and this is its name."""
    accepted = submit_of(reply({"JobId": "j1", "RequestId": "r1"}))
    assert accepted == SubmitReply("j1", "r1", 200)


UNCLEAR = {
    "empty": b"",
    "html": b"<html><h1>502 Bad Gateway</h1></html>",
    "truncated": b'{"RequestId":"r1","JobI',
    "not utf-8": b'{"JobId":"\xff\xfe\xfa"}',
    "deep": b"[" * 1_000_000,
    "list": b'["JobId"]',
    "null": b"null",
    "no job": {"RequestId": "r1"},
    "empty job": {"JobId": "", "RequestId": "r1"},
    "job is a number": {"JobId": 17},
    "job is null": {"JobId": None},
    "unknown code": {"Code": "Brandnew", "Message": "?"},
    "code is a number": {"Code": 400, "Message": "?"},
    "code is null": {"Code": None},
    "code is prose": {"Code": "it did not work"},
    "empty object": {},
}


@pytest.mark.parametrize("status", [200, 302, 400, 404, 500, 502, 503])
@pytest.mark.parametrize("content", UNCLEAR.values(), ids=UNCLEAR.keys())
def test_unclear_answers_leave_a_submit_unknown(content, status):
    """No HTTP status makes a clear answer out of an unclear body."""
    with pytest.raises(OutcomeUnknown) as unknown:
        submit_of(reply(content, status))
    assert unknown.value.http_status == status


@pytest.mark.parametrize("status", [200, 400, 403, 429, 500, 503])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("Throttling.User", Throttled),
        ("InvalidParameter.FunctionNotSupported", Refused),
        ("InternalError", OutcomeUnknown),
        ("ServiceUnavailable", OutcomeUnknown),
    ],
)
def test_the_code_decides_and_the_status_does_not(code, kind, status):
    """The same envelope means the same under every status."""
    envelope = {"Code": code, "Message": "why", "RequestId": "r1", "HostId": "h"}
    with pytest.raises(kind) as raised:
        submit_of(reply(envelope, status))
    error = raised.value
    assert (error.code, error.message, error.request_id) == (code, "why", "r1")
    assert error.http_status == status
    assert error.action == "SubmitIProductionJob"


def test_lower_case_envelope_is_read_too():
    """Some gateways of the family spell the members so, and the official SDK reads both."""
    with pytest.raises(Throttled) as raised:
        submit_of(reply({"code": "Throttling", "message": "slow", "requestId": "r1"}, 400))
    assert (raised.value.message, raised.value.request_id) == ("slow", "r1")


def test_an_error_that_names_a_job_is_unknown():
    """A refusal and a job at once contradict each other: somebody has to look."""
    with pytest.raises(OutcomeUnknown):
        submit_of(reply({"Code": "Throttling", "JobId": "j1"}, 400))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("1500", 1.5),
        ("0", None),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("9" * 400, 3600.0),
    ],
)
def test_retry_after_is_read_in_milliseconds(header, seconds):
    """What the service asks for is bounded, and nonsense counts as not said."""
    with pytest.raises(Throttled) as raised:
        submit_of(reply({"Code": "Throttling"}, 400, {"x-acs-retry-after": header}))
    assert raised.value.retry_after_seconds == seconds


def test_request_id_of_the_header_stands_in_for_the_body():
    """A page of a proxy still leaves something to ask the provider's support about."""
    with pytest.raises(OutcomeUnknown) as raised:
        submit_of(reply(b"<html>", 502, {"x-acs-request-id": "r9"}))
    assert raised.value.request_id == "r9"


def test_a_query_returns_the_whole_object_untouched():
    """Unknown members and types pass through."""
    answer = {"Status": "Analysing", "New": [1, {"a": None}], "RequestId": "r1"}
    assert read_object(reply(answer)) == answer


def test_a_query_of_an_unknown_job_is_refused_by_code():
    """The tracker can tell it from an outage."""
    with pytest.raises(Refused) as raised:
        read_object(reply({"Code": "InvalidParameter.JobNotFound"}, 400))
    assert raised.value.code == "InvalidParameter.JobNotFound"


def test_an_error_status_without_a_code_is_no_answer():
    """An object that came with a 500 is not a job."""
    with pytest.raises(OutcomeUnknown):
        read_object(reply({"Status": "Success"}, 500))


@pytest.mark.parametrize(("message", "read"), [("OK", "OK"), (None, ""), (5, "")])
def test_a_cancel_returns_the_services_message(message, read):
    """It is free text, and may be missing."""
    answer = read_cancel(reply({"Message": message, "RequestId": "r1"}))
    assert answer == CancelReply(read, "r1", 200)
