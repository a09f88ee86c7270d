"""Every call is on record, at every replica, without a word that does not belong there."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import suppress

import grpc
import pytest

from ims_gateway.telemetry.floods import SINGLE
from imsgateway.v1 import access_service_pb2, job_pb2, job_service_pb2, quota_service_pb2
from imsgateway.v1 import admin_service_pb2 as pb
from tests.integration.test_resolution import a_desk
from tests.integration.world import cover, refused, until

Record = pb.ListDecisionsResponse.DecisionRecord
Submit = job_service_pb2.SubmitJobRequest
FOREIGN = "oss://globex-media/in.mp4"
MARK = "hunter2"


@pytest.fixture
async def desk(tmp_path, database_url):
    """Run a gateway with an operator, on each kind of database."""
    async with a_desk(tmp_path, database_url=database_url) as running:
        yield running


async def listed(desk, **wanted) -> list[Record]:
    """Return one page of decisions."""
    request = pb.ListDecisionsRequest(**wanted)
    return list((await desk.client.admin.ListDecisions(request)).decisions)


async def record_of(desk, decision_id: str) -> Record:
    """Return the record that a decision id finds, as soon as it is there."""
    found: list[Record] = []

    async def is_there() -> bool:
        found[:] = await listed(desk, decision_id=decision_id)
        return bool(found)

    await until(is_there)
    (record,) = found
    return record


async def test_denied_caller_s_decision_id_finds_why(desk):
    """Who, with which credential, for whom, which object, and what did not fit."""
    answer = await refused(desk.world.acme.jobs.SubmitJob(Submit(job=cover(FOREIGN))))
    record = await record_of(desk, answer.metadata["decision_id"])

    assert (record.principal, record.tenant, record.principal_tenant) == (
        "principal/robot",
        "tenants/acme",
        "tenants/acme",
    )
    assert record.credential == f"key/{desk.world.keys['acme'].split('_')[1]}"
    assert (record.code, record.reason) == ("PERMISSION_DENIED", "POLICY_DENIED")
    assert (record.method, record.algorithm, record.count) == (
        "imsgateway.v1.JobService/SubmitJob",
        "cover",
        1,
    )
    assert [(each.object, each.allowed) for each in record.policy.objects] == [
        (FOREIGN, False),
        ("oss://acme-media/out/{source}-{timestamp}-{sequenceId}.png", True),
    ]
    assert record.policy.failed_dimension == record.policy.DIMENSION_READ
    assert record.policy.policy_version
    assert [step.step for step in record.steps] == [
        "authenticate",
        "validate",
        "authorize",
        "recall",
    ]
    assert abs(record.time.ToSeconds() - time.time()) < 60


async def test_accepted_job_s_record_says_what_it_took(desk):
    """Which limits, what is left of them, and what the service called its answer."""
    job = await desk.world.acme.submit(cover())
    await until(lambda: _any(desk, code="OK", parent="tenants/acme"))
    (record,) = await listed(desk, code="OK", parent="tenants/acme")

    assert record.job == job.name
    assert record.quota_outcome == Record.QUOTA_OUTCOME_COMMITTED
    assert {limit.limit_id: limit.remaining for limit in record.limits} == {
        "burst": 9_999,
        "daily": 999,
    }
    assert record.upstream_request_id
    assert record.duration.ToMicroseconds() > 0


@pytest.mark.parametrize(
    ("fault", "code", "outcome"),
    [
        ("throttle", "UNAVAILABLE", Record.QUOTA_OUTCOME_RELEASED),
        ("refuse", "FAILED_PRECONDITION", Record.QUOTA_OUTCOME_RELEASED),
        ("accept_then_drop", "UNKNOWN", Record.QUOTA_OUTCOME_HELD),
    ],
)
async def test_record_says_what_became_of_a_refused_job_s_quota(desk, fault, code, outcome):
    """Returned where the service surely did not take it, held where nobody knows."""
    desk.world.fault(fault)
    answer = await refused(desk.world.acme.jobs.SubmitJob(Submit(job=cover())))
    record = await record_of(desk, answer.metadata["decision_id"])

    assert (record.code, record.quota_outcome) == (code, outcome)
    assert len(record.limits) == 2
    assert record.job.startswith("tenants/acme/jobs/")


async def test_limit_that_refused_is_on_record(tmp_path):
    """And nothing was taken."""
    limits = [{"id": "none", "kind": "day", "max": 0}]
    async with a_desk(tmp_path, acme={"limits": limits}) as desk:
        answer = await refused(desk.world.acme.jobs.SubmitJob(Submit(job=cover())))
        record = await record_of(desk, answer.metadata["decision_id"])
        assert record.quota_outcome == Record.QUOTA_OUTCOME_REFUSED
        assert [(each.limit_id, each.remaining) for each in record.limits] == [("none", 0)]


async def test_guest_s_record_names_both_tenants(tmp_path):
    """The one it belongs to and the one it acted for, which finds it, too."""
    guest = {
        "subject": "tenants/globex/principals/robot",
        "actions": ["submit"],
        "read": ["*"],
        "write": ["*"],
    }
    async with a_desk(tmp_path, acme={"grants": [guest]}) as desk:
        request = Submit(job=cover(), parent="tenants/acme", validate_only=True)
        await desk.world.globex.jobs.SubmitJob(request)
        await until(lambda: _any(desk, parent="tenants/acme"))
        (record,) = await listed(desk, parent="tenants/acme")
        assert (record.principal, record.principal_tenant) == ("principal/robot", "tenants/globex")


async def test_replicas_and_the_next_process_find_every_record(desk):
    """The ledger has them, not the process that made the decision."""
    first = await refused(desk.world.acme.jobs.SubmitJob(Submit(job=cover(FOREIGN))))
    async with desk.world.replica() as other:
        second = await refused(other.acme.jobs.SubmitJob(Submit(job=cover(FOREIGN))))
        await record_of(desk, second.metadata["decision_id"])
        third = await refused(other.acme.jobs.SubmitJob(Submit(job=cover(FOREIGN))))
    # What it had not written yet, it wrote when it ended.
    assert await listed(desk, decision_id=third.metadata["decision_id"])
    assert (await record_of(desk, first.metadata["decision_id"])).count == 1


async def test_decisions_are_listed_by_pages_newest_first(desk):
    """A token leads on in its own list and in no other."""
    ids = []
    for number in range(5):
        request = job_service_pb2.GetJobRequest(name=f"tenants/acme/jobs/no-{number}")
        answer = await refused(desk.world.acme.jobs.GetJob(request))
        ids.append(answer.metadata["decision_id"])
    await record_of(desk, ids[-1])
    wanted = {"reason": "JOB_NOT_FOUND", "page_size": 2}
    seen, token = [], ""
    for _ in range(3):
        request = pb.ListDecisionsRequest(**wanted, page_token=token)
        page = await desk.client.admin.ListDecisions(request)
        seen += [record.decision_id for record in page.decisions]
        token = page.next_page_token or token
    assert seen == ids[::-1]
    request = pb.ListDecisionsRequest(reason="OTHER", page_token=token)
    assert (await refused(desk.client.admin.ListDecisions(request))).paths == ["page_token"]


async def test_bounded_store_keeps_the_latest(tmp_path, database_url):
    """As many as it was told to, and a store of none keeps none."""
    settings = {"decision_store_rows": 10}
    async with a_desk(tmp_path, database_url=database_url, settings=settings) as desk:
        for _ in range(30):
            await desk.world.acme.who_am_i()
        newest = "SELECT decision_id FROM decisions ORDER BY number DESC"
        made = [record["decision_id"] for record in desk.world.records]
        await until(lambda: desk.world.rows(newest)[:1] == [(made[-1],)])
        assert [row[0] for row in desk.world.rows(newest)] == made[::-1][:10]
        async with desk.world.replica(decision_store_rows=0) as other:
            await refused(other.globex.jobs.SubmitJob(Submit(job=cover())))
        assert not await listed(desk, parent="tenants/globex")


FILLED = {
    "user data": Submit(job=cover(user_data=MARK)),
    "a name": Submit(job=cover(display_name=MARK)),
    "a label": Submit(job=cover(labels={"team": MARK})),
    "a label's key": Submit(job=cover(labels={MARK: "x"})),
    "a bad label's key": Submit(job=cover(labels={f"{MARK} ?": "x"})),
    "a bad label": Submit(job=cover(labels={"team": f"{MARK}\n"})),
    "long user data": Submit(job=cover(user_data=MARK * 100)),
    "a request id": Submit(job=cover(), request_id=MARK),
    "a tenant": Submit(job=cover(), parent=f"tenants/{MARK}"),
    "a presigned address": Submit(
        job=cover(
            "https://acme-media.oss-cn-shanghai.aliyuncs.com/in.mp4"
            f"?Expires=1&OSSAccessKeyId={MARK}&Signature={MARK}"
        )
    ),
    "a presigned address in the other form": Submit(
        job=cover(f"oss://acme-media/in.mp4?Signature={MARK}")
    ),
    "a password in an address": Submit(
        job=cover(f"https://user:{MARK}@acme-media.oss-cn-shanghai.aliyuncs.com/in.mp4")
    ),
    "a fragment": Submit(
        job=cover(f"https://acme-media.oss-cn-shanghai.aliyuncs.com/in.mp4#{MARK}")
    ),
    "a presigned output": Submit(
        job=job_pb2.Job(
            video_h2v={
                "input": {"oss_uri": "oss://acme-media/in.mp4"},
                "output": {"uri": f"oss://acme-media/out.mp4?Signature={MARK}"},
            }
        )
    ),
}


@pytest.mark.parametrize("where", FILLED)
async def test_record_holds_no_secret_and_no_user_data(tmp_path, where):
    """Whatever field of a job it stands in, and whether the job is taken or not."""
    async with a_desk(tmp_path) as desk:
        with_token = (("x-extra", MARK), ("baggage", f"secret={MARK}"))
        with suppress(grpc.aio.AioRpcError):
            await desk.world.acme.jobs.SubmitJob(FILLED[where], metadata=with_token)
        (record,) = desk.world.records
        assert record["principal"] == "principal/robot"
        assert MARK not in json.dumps(desk.world.records)
    kept = desk.world.rows("SELECT record FROM decisions")
    assert kept
    assert MARK not in str(kept)


async def test_record_of_other_calls_holds_nothing_of_what_a_caller_wrote(desk):
    """Names of jobs that are none, filters, tokens, keys."""
    jobs, admin = desk.world.acme.jobs, desk.client.admin
    access, quota = desk.world.acme.access, desk.world.acme.quota
    name = f"tenants/acme/jobs/{MARK}"
    calls = [
        jobs.GetJob(job_service_pb2.GetJobRequest(name=name)),
        jobs.GetJob(job_service_pb2.GetJobRequest(name=f"{MARK} ?")),
        jobs.CancelJob(job_service_pb2.CancelJobRequest(name=name)),
        jobs.ListJobs(job_service_pb2.ListJobsRequest(filter=MARK)),
        jobs.ListJobs(job_service_pb2.ListJobsRequest(page_token=MARK)),
        access.ExplainAccess(access_service_pb2.ExplainAccessRequest(parent=f"tenants/{MARK}")),
        quota.GetUsage(quota_service_pb2.GetUsageRequest(parent=f"tenants/{MARK}")),
        admin.ResolveJob(pb.ResolveJobRequest(name=name, never_created={})),
        admin.ListDecisions(pb.ListDecisionsRequest(page_token=MARK)),
        admin.ListTenants(pb.ListTenantsRequest(page_token=MARK)),
    ]
    for call in calls:
        await refused(call)
    async with grpc.aio.insecure_channel(desk.world.target) as channel:
        for key in (f"Bearer {MARK}", f"Basic {MARK}", f"{desk.world.keys['acme']}{MARK}"):
            method = channel.unary_unary("/imsgateway.v1.AccessService/WhoAmI")
            await refused(method(b"", metadata=(("authorization", key),)))
    assert len(desk.world.records) == len(calls) + 3
    assert MARK not in json.dumps(desk.world.records)


async def test_flood_of_refused_calls_is_a_few_lines_and_transactions(desk):
    """Thousands of one kind, by several callers at once; each one's id finds a record."""
    count, ids = 2_000, set()
    name = "tenants/acme/jobs/none"

    async def ask() -> None:
        for _ in range(count // 10):
            request = job_service_pb2.GetJobRequest(name=name)
            answer = await refused(desk.world.acme.jobs.GetJob(request))
            ids.add(answer.metadata["decision_id"])

    began = time.monotonic()
    await asyncio.gather(*(ask() for _ in range(10)))
    windows = 2 + (time.monotonic() - began) // 10
    assert len(ids) <= (SINGLE + 1) * windows

    async def all_are_counted() -> bool:
        return sum([(await record_of(desk, each)).count for each in ids]) == count

    await until(all_are_counted)
    lines = [each for each in desk.world.records if each["reason"] == "JOB_NOT_FOUND"]
    assert len(lines) <= (SINGLE + 1) * windows
    assert {line["decision_id"] for line in lines} <= ids


async def test_flood_of_strangers_is_aggregated_too(desk):
    """Callers without a key are one kind, and the record shows a few of their traces."""
    async with grpc.aio.insecure_channel(desk.world.target) as channel:
        method = channel.unary_unary("/imsgateway.v1.AccessService/WhoAmI")
        answers = [await refused(method(b"")) for _ in range(SINGLE + 20)]
    record = await record_of(desk, answers[-1].metadata["decision_id"])
    assert (record.principal, record.tenant, record.reason) == ("", "", "NOT_AUTHENTICATED")
    assert record.count >= 1
    assert record.samples[0].trace_id
    assert record.last_time.ToNanoseconds() >= record.time.ToNanoseconds()


async def test_closed_log_ends_no_call(tmp_path):
    """A pipe that nobody reads from any more loses records, and they are counted."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    async with a_desk(tmp_path, settings={"decision_log": str(pipe)}) as desk:
        await desk.world.acme.who_am_i()
        desk.world.gateway.decisions.flush()
        os.close(reading)
        for _ in range(5):
            await desk.world.acme.who_am_i()
        desk.world.gateway.decisions.flush()
        assert desk.world.gateway.decisions.lost == 5


async def _any(desk, **wanted) -> bool:
    return bool(await listed(desk, **wanted))
