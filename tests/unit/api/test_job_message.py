"""The ledger's record of a job is shown as the contract's Job."""

import json

import pytest

from ims_gateway.api.job_message import job_message
from ims_gateway.jobs.record import JobRecord
from ims_gateway.jobs.states import TERMINAL, State
from imsgateway.v1 import job_pb2

CREATED = 1_780_315_200_123_456
SPEC = job_pb2.Job(
    cover={"input": {"oss_uri": "oss://acme/in.mp4"}, "output": {"uri": "oss://acme/out.png"}},
    user_data="mine",
    labels={"a": "b"},
)
REPLY = {
    "Status": "Success",
    "OutputFiles": ["out-1.png", "out-2.png"],
    "Result": '{"Covers": 2}',
}
URLS = ["https://acme.oss-cn-shanghai.aliyuncs.com/out-1.png?Signature=x", "https://y/?Signature=y"]


def record(state=State.QUEUED, **changes):
    """Return a record in that state."""
    members = {
        "job_id": "1",
        "tenant": "acme",
        "request_id": "r-1",
        "body_hash": b"",
        "principal": "principal/farm",
        "algorithm": "cover",
        "account": "main",
        "spec": SPEC.SerializeToString(),
        "state": state,
        "create_time": CREATED,
        "update_time": CREATED + 1,
        "end_time": CREATED + 2 if state in TERMINAL else None,
        "upstream_job_id": "u-1",
        "upstream_request_id": "ur-1",
        "failure_code": "",
        "failure_message": "",
        "reply": json.dumps(REPLY) if state is State.SUCCEEDED else "",
        "decision_id": "d-1",
        "traceparent": "",
    }
    return JobRecord(**{**members, **changes})


def test_a_job_is_what_was_asked_for_with_what_became_of_it():
    """The caller's own members, and those that the gateway sets."""
    job = job_message(record())

    assert (job.name, job.request_id, job.principal) == (
        "tenants/acme/jobs/1",
        "r-1",
        "principal/farm",
    )
    assert (job.user_data, job.labels, job.cover) == ("mine", {"a": "b"}, SPEC.cover)
    assert job.upstream_job_id == "u-1"
    assert job.create_time.ToMicroseconds() == CREATED
    assert job.update_time.ToMicroseconds() == CREATED + 1


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_every_state_is_shown(state):
    """An end has its time, and only an end has one."""
    job = job_message(record(state))

    assert job_pb2.Job.State.Name(job.state) == f"STATE_{state.name}"
    assert job.HasField("end_time") == (state in TERMINAL)
    assert not job.HasField("failure")
    assert job.cover.HasField("result") == (state is State.SUCCEEDED)


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_a_failure_is_shown_in_the_states_that_the_contract_names(state):
    """A job that was taken after all has none any more, whatever the ledger remembers."""
    job = job_message(record(state, failure_code="INTERRUPTED", failure_message="why"))

    assert job.HasField("failure") == (
        state in {State.FAILED, State.REJECTED, State.SUBMIT_UNKNOWN}
    )
    if job.HasField("failure"):
        assert (job.failure.code, job.failure.message) == ("INTERRUPTED", "why")
        assert job.failure.upstream_request_id == "ur-1"


def test_a_job_that_has_succeeded_has_its_result():
    """Typed and raw; a list leaves both out."""
    job = job_message(record(State.SUCCEEDED))

    assert [file.uri for file in job.cover.result.images] == REPLY["OutputFiles"]
    assert job.raw_result.struct_value["Covers"] == 2
    short = job_message(record(State.SUCCEEDED), result=False)
    assert not short.HasField("raw_result")
    assert not short.cover.HasField("result")


def test_addresses_for_download_are_shown_from_a_fresh_reply_alone():
    """What is stored has none, and a stored one would be shown to nobody."""
    stored = job_message(record(State.SUCCEEDED, reply=json.dumps({**REPLY, "OutputUrls": URLS})))
    fresh = job_message(record(State.SUCCEEDED), fresh_reply={**REPLY, "OutputUrls": URLS})

    assert [file.download_url for file in stored.cover.result.images] == ["", ""]
    assert [file.download_url for file in fresh.cover.result.images] == URLS


def test_a_reply_of_a_job_that_has_not_ended_shows_nothing():
    """Neither the stored one nor a fresh one."""
    job = job_message(record(State.RUNNING, reply=json.dumps(REPLY)), fresh_reply=REPLY)

    assert not job.cover.HasField("result")
