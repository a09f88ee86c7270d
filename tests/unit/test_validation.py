"""A request is refused with everything that is wrong with it, by the contract and by the tenant."""

import pytest

from ims_gateway.errors import InvalidRequest
from ims_gateway.validation import Validation
from imsgateway.v1 import job_pb2, job_service_pb2
from tests.tenants import a_tenant

TENANT = a_tenant()
HERE = "https://acme-in.oss-cn-shanghai.aliyuncs.com/in.mp4"
ELSEWHERE = "https://acme-in.oss-cn-beijing.aliyuncs.com/in.mp4"
OUT = "oss://acme-out/out.mp4"


@pytest.fixture(scope="module")
def validation():
    """Compile the rules once."""
    return Validation()


def matting(source="oss://acme-in/in.mp4", output=OUT, background="", **members):
    """Return a job that reads two objects and writes one."""
    job = job_pb2.Job(
        video_green_screen_matting={
            "input": {"oss_uri": source},
            "background_image_uri": background,
        },
        **members,
    )
    if output:
        job.video_green_screen_matting.output.uri = output
    return job


def faults(validation, job, *, filled=None, **members):
    """Return pairs of path and rule of what is wrong with a submit."""
    request = job_service_pb2.SubmitJobRequest(job=job, **members)
    with pytest.raises(InvalidRequest) as raised:
        validation.check_job(request, filled or job, TENANT)
    assert all(each.description for each in raised.value.violations)
    return [
        (each.path.removeprefix("job.video_green_screen_matting."), each.rule)
        for each in raised.value.violations
    ]


@pytest.mark.parametrize(
    "job",
    [
        matting(output="oss://acme-out/out.webm"),
        matting(HERE, background="http://acme-in.oss-cn-shanghai.aliyuncs.com/b.png"),
    ],
)
def test_a_good_job_passes(validation, job):
    """An address in oss:// has no region, one in https:// has the tenant's."""
    validation.check_job(job_service_pb2.SubmitJobRequest(job=job), job, TENANT)


def test_violations_of_the_contract_and_of_the_tenant_come_together(validation):
    """All of them at once."""
    job = matting(ELSEWHERE, "oss://acme-out/out.webm", user_data="u" * 300, priority=11)

    assert sorted(faults(validation, job, request_id="no uuid", parent="acme")) == [
        ("input.oss_uri", "oss_object.region"),
        ("job.priority", "int32.gte_lte"),
        ("job.user_data", "string.max_len"),
        ("parent", "string.pattern"),
        ("request_id", "string.uuid"),
    ]


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (matting(ELSEWHERE, output="oss://acme-out/out.webm"), ["input.oss_uri"]),
        (
            matting(HERE.replace("shanghai", "shanghai-internal"), "oss://a-b/o.webm"),
            ["input.oss_uri"],
        ),
        (
            matting(
                ELSEWHERE,
                "https://acme-out.oss-us-west-1.aliyuncs.com/out.mp4",
                "http://acme-in.oss-eu-central-1.aliyuncs.com/b.png",
            ),
            ["background_image_uri", "input.oss_uri", "output.uri"],
        ),
    ],
)
def test_every_address_outside_of_the_tenant_s_region_is_named(validation, job, expected):
    """It would be a paid job that ends in an error (wire facts)."""
    assert sorted(faults(validation, job)) == [(path, "oss_object.region") for path in expected]


def test_an_output_that_nothing_names_is_required(validation):
    """The tenant has no default for it; and what else is wrong is told, too."""
    assert faults(validation, matting(ELSEWHERE, output="")) == [
        ("output", "output.required"),
        ("input.oss_uri", "oss_object.region"),
    ]


def test_an_output_that_was_filled_in_is_looked_at_as_filled_in(validation):
    """The request itself may lack it."""
    asked, filled = matting(output=""), matting(output="oss://acme-out/out.webm")

    validation.check_job(job_service_pb2.SubmitJobRequest(job=asked), filled, TENANT)
    elsewhere = matting(
        output=OUT.replace("oss://acme-out", "https://x-y.oss-cn-beijing.aliyuncs.com")
    )
    assert faults(validation, asked, filled=elsewhere) == [("output.uri", "oss_object.region")]


def test_an_address_that_is_not_utf_8_is_refused(validation):
    """No policy could be asked about it."""
    job = matting(f"{HERE}%ff", output="oss://acme-out/out.webm")

    assert faults(validation, job) == [("input.oss_uri", "oss_object.encoding")]


def test_one_fault_of_an_address_is_told_once(validation):
    """The contract's words for it are the better ones."""
    assert faults(validation, matting("ftp://x/y", "oss://acme-out/out.webm")) == [
        ("input.oss_uri", "oss_object.format")
    ]


@pytest.mark.parametrize("job", [None, job_pb2.Job(), job_pb2.Job(user_data="u")])
def test_a_request_without_job_or_algorithm_is_refused(validation, job):
    """And nothing further is looked for in it."""
    request = job_service_pb2.SubmitJobRequest(job=job)
    with pytest.raises(InvalidRequest) as raised:
        validation.check_job(request, request.job, TENANT)

    expected = "job" if job is None else "job.algorithm"
    assert [each.path for each in raised.value.violations] == [expected]


def test_other_requests_have_the_contract_s_rules_alone(validation):
    """Names, page sizes, tokens."""
    validation.check(job_service_pb2.GetJobRequest(name="tenants/acme/jobs/1"))
    with pytest.raises(InvalidRequest) as raised:
        validation.check(job_service_pb2.ListJobsRequest(parent="x", page_size=1001))

    assert [each.path for each in raised.value.violations] == ["parent", "page_size"]


def test_items_of_lists_and_maps_have_their_place_in_the_path(validation):
    """As AIP-193 spells it."""
    job = job_pb2.Job(
        labels={"a": "x" * 64},
        audio_mixing={
            "input": {"oss_uri": "oss://acme-in/a.mp3"},
            "output": {"uri": "oss://acme-out/a.wav"},
            "tracks": [{"file_uri": "ftp://x"}],
        },
    )
    with pytest.raises(InvalidRequest) as raised:
        validation.check(job_service_pb2.SubmitJobRequest(job=job))
    found = {each.path for each in raised.value.violations}

    assert {'job.labels["a"]', "job.audio_mixing.tracks[0].file_uri"} <= found
