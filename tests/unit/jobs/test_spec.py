"""What two requests with one request id must have in common."""

from ims_gateway.jobs.spec import body_hash, spec_of
from imsgateway.v1 import job_pb2


def job(**members):
    """Return a job as a caller sends it."""
    return job_pb2.Job(
        cover={"input": {"oss_uri": "oss://acme/in.mp4"}, "output": {"uri": "oss://acme/out.png"}},
        **members,
    )


def test_what_only_the_gateway_sets_is_left_out():
    """On the job and on its algorithm, whatever a caller puts there (AIP-203)."""
    sent = job(
        name="tenants/globex/jobs/1",
        state=job_pb2.Job.STATE_SUCCEEDED,
        request_id="x",
        principal="principal/root",
        upstream_job_id="x",
        failure={"code": "x"},
        create_time={"seconds": 1},
    )
    sent.cover.result.images.add(uri="x")

    assert spec_of(sent) == job()


def test_what_the_caller_means_is_kept():
    """Labels and user data, too; the caller's own message is left as it is."""
    sent = job(name="x", user_data="u", labels={"a": "b"}, priority=3, display_name="n")
    before = sent.SerializeToString()

    assert spec_of(sent) == job(user_data="u", labels={"a": "b"}, priority=3, display_name="n")
    assert sent.SerializeToString() == before


def test_a_job_without_algorithm_has_a_spec_too():
    """It is refused elsewhere."""
    assert spec_of(job_pb2.Job(name="x", user_data="u")) == job_pb2.Job(user_data="u")


def test_equal_jobs_have_equal_hashes():
    """However the caller put together a map, and whatever it wrote into the gateway's fields."""
    labels = {f"key-{number}": str(number) for number in range(16)}
    forward = job(labels=labels, name="x")
    backward = job(labels=dict(reversed(labels.items())))

    assert body_hash(spec_of(forward)) == body_hash(spec_of(backward))


def test_every_difference_that_is_sent_makes_another_hash():
    """A priority of the default's value is not the same as none."""
    jobs = [job(), job(user_data="u"), job(labels={"a": "b"}), job(priority=0), job(priority=1)]

    assert len({body_hash(spec_of(each)) for each in jobs}) == len(jobs)
