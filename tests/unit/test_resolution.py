"""What makes an upstream job this job: the members that are compared, and how."""

import json

import pytest

from ims_gateway.algorithms.translation import submit_parameters
from ims_gateway.jobs.record import JobRecord
from ims_gateway.jobs.states import State
from ims_gateway.resolution import differences
from imsgateway.v1 import job_pb2

JOB = job_pb2.Job(
    display_name="片头 1",
    user_data='{"order": 7}',
    cover={
        "input": {"oss_uri": "oss://acme-media/in.mp4"},
        "output": {"uri": "oss://acme-media/out/{sequenceId}.png"},
    },
)
BARE = job_pb2.Job(
    cover={"input": {"media_id": "4711"}, "output": {"uri": "oss://acme-media/{sequenceId}.png"}}
)


def record(job: job_pb2.Job) -> JobRecord:
    """Return a record of the job."""
    fields = dict.fromkeys(JobRecord.__dataclass_fields__, "")
    return JobRecord(**{**fields, "spec": job.SerializeToString(), "state": State.SUBMIT_UNKNOWN})


def reply(job: job_pb2.Job = JOB, **changes: object) -> dict[str, object]:
    """Return the service's reply about the job as it was submitted, with changes."""
    sent = submit_parameters(job)
    members = {**sent, "Input": json.loads(sent["Input"]), "Output": json.loads(sent["Output"])}
    return {**members, "Status": "Queuing", "JobId": "a", **changes}


def test_what_was_submitted_is_no_difference():
    """Whether the service decodes Input and Output or not."""
    sent = submit_parameters(JOB)
    assert differences(record(JOB), reply()) == ()
    assert differences(record(JOB), reply(Input=sent["Input"], Output=sent["Output"])) == ()
    spaced = json.dumps(json.loads(sent["Input"]), indent=2)
    assert differences(record(JOB), reply(Input=spaced)) == ()


@pytest.mark.parametrize("said", [{}, {"Name": "", "UserData": ""}, {"Name": None}])
def test_absent_and_empty_are_the_same(said):
    """What was not sent may come back empty, as null, or not at all."""
    assert differences(record(BARE), reply(BARE, **said)) == ()
    documents = reply(BARE)["Output"] | {"Biz": "", "OutputUrl": None}
    assert differences(record(BARE), reply(BARE, Output=documents)) == ()


DIFFERENT = {
    "Name": ["片头 2", "", None, "片头 1 ", 1],
    "FunctionName": ["VideoClip", "", None, "cover"],
    "UserData": ['{"order":7}', '{"order": 8}', {"order": 7}, "", None],
    "Input": [
        {"Type": "OSS", "Media": "oss://acme-media/other.mp4"},
        {"Type": "Media", "Media": "oss://acme-media/in.mp4"},
        {"Type": "OSS", "Media": "oss://acme-media/in.mp4", "Extra": "1"},
        {"Type": "OSS"},
        "not JSON",
        "[" * 100_000,
        [],
        {},
        None,
        7,
    ],
    "Output": [
        {"Type": "OSS", "Media": "oss://acme-media/out/{sequenceId}.gif"},
        {"Type": "OSS"},
        "",
        None,
    ],
}


@pytest.mark.parametrize(
    ("member", "said"), [(name, said) for name, many in DIFFERENT.items() for said in many]
)
def test_every_other_value_is_a_difference(member, said):
    """Texts are compared to the letter, documents by what they hold; garbage is no match."""
    assert differences(record(JOB), reply(**{member: said})) == (member,)


def test_all_differences_are_named():
    """An operator sees at once how far off an id is."""
    other = reply(Name="x", FunctionName="x", UserData="x", Input={}, Output={})
    assert differences(record(JOB), other) == (
        "Name",
        "FunctionName",
        "UserData",
        "Input",
        "Output",
    )
    assert len(differences(record(JOB), {})) == 5


def with_asset(**asset: str) -> job_pb2.Job:
    """Return a job whose output is a media asset."""
    return job_pb2.Job(
        video_h2v={
            "input": {"oss_uri": "oss://acme-media/in.mp4"},
            "output": {"media_asset": asset},
        }
    )


def test_id_of_a_new_asset_is_left_out_and_that_of_a_named_one_is_not():
    """The service makes up the one, and was told the other."""
    new, named = with_asset(biz="BIZ_VOD"), with_asset(media_id="4711")
    told = {"Type": "Media", "Biz": "VOD", "Media": "0815"}
    assert differences(record(new), reply(new, Output=told)) == ()
    assert differences(record(new), reply(new, Output=told | {"Biz": "IMS"})) == ("Output",)
    other = {"Type": "Media", "Media": "0815"}
    assert differences(record(named), reply(named, Output=other)) == ("Output",)
