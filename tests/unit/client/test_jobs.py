import pytest

from ims_gateway_client import jobs
from imsgateway.v1.job_pb2 import Job
from imsgateway.v1.media_pb2 import OutputFile

ARMS = list(Job.DESCRIPTOR.oneofs_by_name["algorithm"].fields)
# Stated by the contract's comments, which descriptors do not carry.
TERMINAL = {"SUCCEEDED", "FAILED", "CANCELLED", "REJECTED"}


def test_the_terminal_states_are_those_of_the_contract():
    """A state that is added to the contract counts as open."""
    ended = {
        name.removeprefix("STATE_")
        for name, number in Job.State.items()
        if jobs.is_terminal(Job(state=number))
    }
    assert ended == TERMINAL


def test_only_a_good_end_is_a_success():
    """FAILED, CANCELLED and REJECTED are ends and no successes."""
    assert jobs.has_succeeded(Job(state=Job.STATE_SUCCEEDED))
    assert not jobs.has_succeeded(Job(state=Job.STATE_FAILED))


def test_a_state_of_a_later_contract_has_its_number_for_a_name():
    """An old client meets a new gateway without failing."""
    assert jobs.state_name(Job(state=Job.STATE_RUNNING)) == "RUNNING"
    assert jobs.state_name(Job(state=99)) == "99"
    assert not jobs.is_terminal(Job(state=99))


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_the_files_of_every_algorithm_are_found(arm):
    """Whatever a result calls its files, they come in order; a result without files has none."""
    job = Job()
    chosen = getattr(job, arm.name)
    chosen.input.oss_uri = "oss://in/a"
    assert jobs.algorithm_name(job) == arm.name
    assert jobs.result(job) is None
    assert jobs.result_files(job) == []
    chosen.result.SetInParent()
    expected = []
    for field in chosen.result.DESCRIPTOR.fields:
        if field.message_type.full_name == OutputFile.DESCRIPTOR.full_name:
            expected = [OutputFile(uri="oss://out/1"), OutputFile(media_id="2")]
            getattr(chosen.result, field.name).extend(expected)
    assert jobs.result(job) == chosen.result
    assert jobs.result_files(job) == expected
    assert bool(expected) == (arm.name != "audio_quality_assessment")


def test_other_messages_of_a_result_are_no_files():
    """Stretches of time beside the files do not disturb."""
    job = Job(
        video_clip={
            "result": {
                "segments": [{"start_seconds": 0.28, "end_seconds": 5.28}],
                "files": [{"uri": "oss://out/1.mp4"}],
            }
        }
    )
    assert jobs.result_files(job) == [OutputFile(uri="oss://out/1.mp4")]


def test_a_job_without_algorithm_has_nothing():
    """An empty job answers every question."""
    assert jobs.algorithm_name(Job()) == ""
    assert jobs.algorithm(Job()) is None
    assert jobs.result_files(Job()) == []


def test_the_names_of_the_algorithms_are_the_fields_of_the_contract():
    """Fifteen, in the order of the contract."""
    assert tuple(arm.name for arm in ARMS) == jobs.ALGORITHM_NAMES
    assert len(jobs.ALGORITHM_NAMES) == 15
