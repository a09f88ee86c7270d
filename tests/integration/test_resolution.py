"""Jobs of which nobody knew: what an operator may do about them, and nobody else."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import yaml
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2

from ims_gateway.identity.keys import key_hash, new_key
from ims_gateway_client import AsyncClient, OutcomeUnknown
from imsgateway.v1 import (
    access_service_pb2,
    admin_service_pb2,
    job_pb2,
    job_service_pb2,
    quota_service_pb2,
)
from tests.integration.world import PEPPER, World, a_world, cover, refused, until

State = job_pb2.Job
Resolve = admin_service_pb2.ResolveJobRequest
IMSGW = Path(sys.executable).parent / "imsgw"
WINDOW_SECONDS = 15 * 60
# Nothing of a job moves by itself while it is looked at.
QUIET = {"job_seconds": 600, "settings": {"submit_timeout_seconds": 2}}


@dataclass
class Desk:
    """A world and the operator's place in it."""

    world: World
    key: str
    client: AsyncClient

    async def resolve(self, name: str, **resolution) -> job_pb2.Job:
        """Settle a job."""
        return (await self.client.admin.ResolveJob(Resolve(name=name, **resolution))).job

    async def unknown(self, fault: str = "accept_then_drop", **fields) -> job_pb2.Job:
        """Return a job whose submit got no answer."""
        self.world.fault(fault)
        with pytest.raises(OutcomeUnknown) as caught:
            await self.world.acme.submit(cover(**fields))
        return await self.world.acme.get(caught.value.job_name)

    def age(self, name: str, seconds: float) -> None:
        """Make a job look as if it had been unknown for longer."""
        job_id, microseconds = name.rpartition("/")[2], round(seconds * 1e6)
        self.world.rows(
            f"UPDATE jobs SET create_time = create_time - {microseconds}, "  # noqa: S608 - our own
            f"update_time = update_time - {microseconds} WHERE job_id = '{job_id}'"
        )

    def last_cause(self, name: str) -> str:
        """Return why the ledger changed the job last."""
        job_id = name.rpartition("/")[2]
        query = f"SELECT cause FROM transitions WHERE job_id = '{job_id}' ORDER BY number"  # noqa: S608 - our own text
        return self.world.rows(query)[-1][0]

    def holds(self) -> list[str]:
        """Return the states of all holds."""
        return sorted(row[0] for row in self.world.rows("SELECT state FROM holds"))


@asynccontextmanager
async def a_desk(folder: Path, **options) -> AsyncIterator[Desk]:
    """Run a gateway that knows one operator, alice."""
    _, key = new_key()
    entry = {"id": key.split("_")[1], "hash": key_hash(key, PEPPER.encode())}
    operators = {"operators": [{"name": "alice", "keys": [entry]}]}
    (folder / "operators.yaml").write_text(yaml.safe_dump(operators), encoding="utf-8")
    async with a_world(folder, **options) as world, AsyncClient(world.target, api_key=key) as alice:
        yield Desk(world, key, alice)


@pytest.fixture
async def desk(tmp_path, database_url) -> AsyncIterator[Desk]:
    """Run a gateway with an operator, on each kind of database."""
    async with a_desk(tmp_path, database_url=database_url, **QUIET) as running:
        yield running


# Commands that call a gateway know nothing of its database, and each is a process to start.
ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def test_job_that_exists_is_found_again_and_followed_to_its_end(tmp_path):
    """With the service's id the job is as good as one that was never lost."""
    async with a_desk(tmp_path, settings={"submit_timeout_seconds": 2}) as desk:
        job = await desk.unknown(user_data='{"order": 7}', display_name="片头")
        (upstream,) = desk.world.emulator.jobs
        assert desk.holds() == ["held"]
        resolved = await desk.resolve(job.name, upstream_job_id=upstream.job_id)
        assert (resolved.state, resolved.upstream_job_id) == (State.STATE_QUEUED, upstream.job_id)
        assert not resolved.HasField("failure")
        assert desk.last_cause(job.name).startswith("resolved by principal/alice: ")
        assert desk.holds() == ["committed"]
        done = await desk.world.acme.wait(job.name, timeout_seconds=30)
        assert done.state == State.STATE_SUCCEEDED
        assert desk.world.sent == desk.world.used() == 1
        repeated = await desk.world.acme.submit(
            cover(user_data='{"order": 7}', display_name="片头"), request_id=job.request_id
        )
        assert repeated.name == job.name


NEW_ASSET = job_pb2.Job(
    video_h2v={
        "input": {"oss_uri": "oss://acme-media/in.mp4"},
        "output": {"media_asset": {"biz": "BIZ_VOD"}},
    }
)


async def test_a_new_asset_s_id_is_no_difference(tmp_path):
    """The service tells the id that it gave to an asset which the job asked it to make."""
    grants = [
        {
            "subject": "role/editor",
            "actions": ["*"],
            "read": ["oss://acme-media/*"],
            "write": ["oss://acme-media/*", "media:{new}"],
        }
    ]
    async with a_desk(tmp_path, acme={"grants": grants}, job_seconds=0) as desk:
        desk.world.fault("accept_then_drop")
        with pytest.raises(OutcomeUnknown) as caught:
            await desk.world.acme.submit(NEW_ASSET)
        (upstream,) = desk.world.emulator.jobs
        told = desk.world.emulator._service.describe(upstream)["Output"]
        assert told["Media"]
        resolved = await desk.resolve(caught.value.job_name, upstream_job_id=upstream.job_id)
        assert resolved.state == State.STATE_QUEUED


DIFFERENT = {
    "user data": ({"user_data": "other"}, {}, ["UserData"]),
    "user data that was not sent": ({"user_data": "mine"}, {"user_data": ""}, ["UserData"]),
    "name": ({"display_name": "other"}, {}, ["Name"]),
    "input": ({"uri": "oss://acme-media/other.mp4"}, {}, ["Input"]),
    "several": (
        {"uri": "oss://acme-media/other.mp4", "display_name": "other", "user_data": "other"},
        {},
        ["Name", "UserData", "Input"],
    ),
}


@pytest.mark.parametrize("kind", DIFFERENT)
async def test_job_that_is_another_one_is_refused_by_the_names_of_its_members(desk, kind):
    """What differs is named, its values are not, and nothing changes."""
    theirs, mine, members = DIFFERENT[kind]
    same = {"user_data": "mine", "display_name": "mine"}
    await desk.world.acme.submit(cover(**(same | theirs)))
    (upstream,) = desk.world.emulator.jobs
    job = await desk.unknown("drop", **(same | mine))
    request = Resolve(name=job.name, upstream_job_id=upstream.job_id)
    answer = await refused(desk.client.admin.ResolveJob(request))
    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_STATE")
    assert answer.metadata["members"].split(",") == members
    for secret in ("mine", "other", "oss://"):
        assert secret not in f"{answer.message} {answer.metadata}"
    assert (await desk.world.acme.get(job.name)).state == State.STATE_SUBMIT_UNKNOWN
    assert desk.holds() == ["committed", "held"]


async def test_function_and_output_are_compared_too(desk):
    """A job of another algorithm into another file differs in both."""
    await desk.world.acme.submit(
        job_pb2.Job(video_h2v={"input": {"oss_uri": "oss://acme-media/in.mp4"}})
    )
    (upstream,) = desk.world.emulator.jobs
    job = await desk.unknown("drop")
    request = Resolve(name=job.name, upstream_job_id=upstream.job_id)
    answer = await refused(desk.client.admin.ResolveJob(request))
    assert answer.metadata["members"] == "FunctionName,Output"


async def test_job_of_the_service_belongs_to_one_job_only(desk):
    """Two jobs with one body: the id of the first can never become the second's."""
    first = await desk.world.acme.submit(cover())
    second = await desk.unknown("drop")
    request = Resolve(name=second.name, upstream_job_id=first.upstream_job_id)
    answer = await refused(desk.client.admin.ResolveJob(request))
    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_STATE")
    assert first.name in answer.message
    assert (await desk.world.acme.get(second.name)).state == State.STATE_SUBMIT_UNKNOWN


async def test_two_operators_cannot_give_one_upstream_job_to_two_jobs(desk):
    """Whoever comes second is refused, also at the same moment."""
    jobs = [await desk.unknown(), await desk.unknown("drop")]
    (upstream,) = desk.world.emulator.jobs
    calls = [desk.resolve(job.name, upstream_job_id=upstream.job_id) for job in jobs]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    refusals = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert [refusal.code() for refusal in refusals] == [grpc.StatusCode.FAILED_PRECONDITION]
    assert desk.holds() == ["committed", "held"]


async def test_two_operators_at_two_replicas_cannot_either(tmp_path, postgresql):
    """PostgreSQL lets two transactions look at once; one of them waits for the other."""
    async with (
        a_desk(tmp_path, database_url=postgresql.new_database(), **QUIET) as desk,
        desk.world.replica() as other,
        AsyncClient(other.target, api_key=desk.key) as bob,
    ):
        admins = (desk.client.admin, bob.admin)
        for _ in range(20):
            before = len(desk.world.emulator.jobs)
            jobs = [await desk.unknown(), await desk.unknown("drop")]
            upstream_id = desk.world.emulator.jobs[before].job_id
            calls = [
                admin.ResolveJob(Resolve(name=job.name, upstream_job_id=upstream_id))
                for admin, job in zip(admins, jobs, strict=True)
            ]
            await asyncio.gather(*calls, return_exceptions=True)
            states = [(await desk.world.acme.get(job.name)).state for job in jobs]
            assert sorted(states) == sorted((State.STATE_QUEUED, State.STATE_SUBMIT_UNKNOWN))


async def test_id_that_the_service_does_not_know_is_refused_with_its_words(desk):
    """The service's code reaches the operator."""
    job = await desk.unknown("drop")
    request = Resolve(name=job.name, upstream_job_id="0" * 32)
    answer = await refused(desk.client.admin.ResolveJob(request))
    assert (answer.code, answer.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "UPSTREAM_REFUSED",
    )
    assert answer.metadata["upstream_code"] == "InvalidParameter.JobNotFound"
    assert desk.holds() == ["held"]


async def test_unclear_answer_of_the_service_leaves_the_job_as_it_is(desk):
    """A query that fails may be repeated, and then resolves the job."""
    job = await desk.unknown()
    (upstream,) = desk.world.emulator.jobs
    desk.world.fault("garbage", action="QueryIProductionJob")
    request = Resolve(name=job.name, upstream_job_id=upstream.job_id)
    answer = await refused(desk.client.admin.ResolveJob(request))
    assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_ERROR")
    assert (await desk.resolve(**_fields(request))).state == State.STATE_QUEUED


def _fields(request: Resolve) -> dict:
    return {"name": request.name, "upstream_job_id": request.upstream_job_id}


async def test_job_that_never_came_to_be_gives_its_quota_and_its_request_id_back(desk):
    """Said late enough, the same call may be made again and is sent for the first time."""
    job = await desk.unknown("drop")
    desk.age(job.name, WINDOW_SECONDS + 10)
    resolved = await desk.resolve(job.name, never_created={})
    assert resolved.state == State.STATE_REJECTED
    assert resolved.failure.code == "NEVER_CREATED"
    assert desk.last_cause(job.name).startswith("resolved by principal/alice: ")
    assert desk.holds() == ["released"]
    assert desk.world.used() == 0
    again = await desk.world.acme.submit(cover(), request_id=job.request_id)
    assert again.state == State.STATE_QUEUED
    assert len(desk.world.emulator.jobs) == 1


async def test_never_created_cannot_be_said_while_the_submit_may_still_arrive(desk):
    """The service accepts a signed call for 15 minutes; RetryInfo says when they are over."""
    job = await desk.unknown("drop")
    request = Resolve(name=job.name, never_created={})
    answer = await refused(desk.client.admin.ResolveJob(request))
    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_STATE")
    assert "15 minutes" in answer.message
    wait = answer.details["RetryInfo"].retry_delay.ToMilliseconds() / 1000
    assert WINDOW_SECONDS - 30 < wait <= WINDOW_SECONDS + 2
    assert desk.holds() == ["held"]
    desk.age(job.name, wait - 20)
    assert (await refused(desk.client.admin.ResolveJob(request))).details["RetryInfo"]
    desk.age(job.name, 20)
    assert (await desk.resolve(job.name, never_created={})).state == State.STATE_REJECTED


async def test_only_an_unknown_outcome_is_resolved(desk):
    """A job whose outcome is known, or was resolved, is left alone."""
    known = await desk.world.acme.submit(cover())
    unknown = await desk.unknown()
    theirs = desk.world.emulator.jobs[1].job_id
    await desk.resolve(unknown.name, upstream_job_id=theirs)
    for name in (known.name, unknown.name):
        for resolution in ({"never_created": {}}, {"upstream_job_id": theirs}):
            request = Resolve(name=name, **resolution)
            answer = await refused(desk.client.admin.ResolveJob(request))
            assert (answer.code, answer.reason) == (
                grpc.StatusCode.FAILED_PRECONDITION,
                "JOB_STATE",
            )
            assert "QUEUED" in answer.message


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Resolve(name="tenants/acme/jobs/nosuch", never_created={}), "NOT_FOUND"),
        (Resolve(name="tenants/nosuch/jobs/a", upstream_job_id="a"), "NOT_FOUND"),
        (Resolve(name="nonsense", never_created={}), "INVALID_ARGUMENT"),
        (Resolve(name="tenants/acme/jobs/a"), "INVALID_ARGUMENT"),
        (Resolve(name="tenants/acme/jobs/a", upstream_job_id="?"), "INVALID_ARGUMENT"),
    ],
)
async def test_resolution_of_nothing_is_refused(desk, request_, code):
    """No such job, no such name, no word of what was found out."""
    answer = await refused(desk.client.admin.ResolveJob(request_))
    assert answer.code.name == code


async def test_job_is_found_below_its_own_tenant_only(desk):
    """A name with another tenant's job id is no job."""
    job = await desk.unknown()
    name = job.name.replace("acme", "globex")
    answer = await refused(desk.client.admin.ResolveJob(Resolve(name=name, never_created={})))
    assert answer.code == grpc.StatusCode.NOT_FOUND


def methods(*modules) -> list:
    """Return the methods of the services that are declared there."""
    return [
        method
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]


async def call(target: str, key: str, method) -> grpc.StatusCode:
    """Make the call with an empty request, and return how it ends."""
    metadata = (("authorization", f"Bearer {key}"),)
    path = f"/{method.containing_service.full_name}/{method.name}"
    async with grpc.aio.insecure_channel(target) as channel:
        kind = (
            f"{'stream' if method.client_streaming else 'unary'}_"
            f"{'stream' if method.server_streaming else 'unary'}"
        )
        request = GetMessageClass(method.input_type)().SerializeToString()
        made = getattr(channel, kind)(path)
        try:
            if method.server_streaming:
                sent = _one(request) if method.client_streaming else request
                await made(sent, metadata=metadata).read()
            else:
                await made(request, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


async def _one(request: bytes) -> AsyncIterator[bytes]:
    yield request


async def test_administration_is_for_operators_whether_it_is_served_or_not(desk):
    """A tenant's key is denied at every method, before a word of the request is looked at."""
    for method in methods(admin_service_pb2):
        seen = await call(desk.world.target, desk.world.keys["acme"], method)
        assert seen == grpc.StatusCode.PERMISSION_DENIED, method.name
        seen = await call(desk.world.target, desk.key, method)
        assert seen != grpc.StatusCode.PERMISSION_DENIED, method.name
    assert {record["code"] for record in desk.world.records} >= {"PERMISSION_DENIED"}


def trace_of(job: str) -> job_service_pb2.GetJobTraceRequest:
    """Return the request for a job's trace."""
    return job_service_pb2.GetJobTraceRequest(name=f"{job}/trace")


async def test_operator_has_no_part_in_what_tenants_do(desk):
    """Jobs, quotas and policies belong to tenants, and an operator belongs to none."""
    for method in methods(job_service_pb2, quota_service_pb2, access_service_pb2):
        if method.name in ("WhoAmI", "GetJob", "GetJobTrace", "WatchJob", "CancelJob"):
            continue
        seen = await call(desk.world.target, desk.key, method)
        assert seen == grpc.StatusCode.PERMISSION_DENIED, method.name
    job = await desk.world.acme.submit(cover())
    for made in (
        desk.client.jobs.GetJob(job_service_pb2.GetJobRequest(name=job.name)),
        desk.client.jobs.GetJobTrace(trace_of(job.name)),
        desk.client.jobs.WatchJob(job_service_pb2.WatchJobRequest(name=job.name)).read(),
        desk.client.jobs.CancelJob(job_service_pb2.CancelJobRequest(name=job.name)),
        desk.client.jobs.SubmitJob(job_service_pb2.SubmitJobRequest(job=cover())),
    ):
        answer = await refused(made)
        assert (answer.code, answer.metadata["dimension"]) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "SUBJECT",
        )
    assert desk.world.sent == 1


async def test_operator_is_somebody_without_a_tenant(desk):
    """WhoAmI works, names the operator, and shows no tenant."""
    caller = await desk.client.who_am_i()
    assert (caller.principal, caller.tenant, list(caller.roles)) == ("principal/alice", "", [])


async def test_resolution_is_on_record(desk):
    """The decision names the operator and the job, and holds nothing of what was compared."""
    job = await desk.unknown(user_data="PRIVATE")
    (upstream,) = desk.world.emulator.jobs
    await desk.resolve(job.name, upstream_job_id=upstream.job_id)
    record = desk.world.records[-1]
    assert (record["principal"], record["tenant"], record["job"]) == (
        "principal/alice",
        "",
        job.name,
    )
    assert record["code"] == code_pb2.Code.Name(code_pb2.OK)
    steps = [step["step"] for step in record["steps"]]
    assert steps == ["authenticate", "send", "verify", "settle"]
    assert "PRIVATE" not in json.dumps(record)


async def imsgw(desk: Desk, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run `imsgw jobs resolve`, and return its exit code and what it printed."""
    keyed = {"IMSGW_OPERATOR_KEY": desk.key, **environment}
    return await imsgw_jobs("resolve", *arguments, "--target", desk.world.target, **keyed)


async def imsgw_jobs(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run `imsgw jobs`, and return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        IMSGW,
        "jobs",
        *arguments,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


async def test_jobs_that_wait_for_an_operator_are_listed(desk):
    """`imsgw jobs unknown` names them out of the ledger, until they are settled."""
    ledger = {"IMSGW_DATABASE_URL": desk.world.settings.database_url.get_secret_value()}
    job = await desk.unknown()
    await desk.world.acme.submit(cover())
    code, output, errors = await imsgw_jobs("unknown", **ledger)
    assert (code, errors) == (0, "")
    assert job.name in output
    assert output.endswith("1 jobs in SUBMIT_UNKNOWN\n")
    listed = json.loads((await imsgw_jobs("unknown", "--output", "json", **ledger))[1])["jobs"]
    assert [(found["name"], found["algorithm"]) for found in listed] == [(job.name, "cover")]
    upstream = next(iter(desk.world.emulator.jobs))
    await desk.resolve(job.name, upstream_job_id=upstream.job_id)
    assert (await imsgw_jobs("unknown", **ledger))[1] == "0 jobs in SUBMIT_UNKNOWN\n"


@ONE_DATABASE
async def test_command_resolves_with_the_service_s_id(desk, tmp_path):
    """`imsgw jobs resolve --upstream-id` says what became of the job, for people."""
    job = await desk.unknown()
    (upstream,) = desk.world.emulator.jobs
    file = tmp_path / "operator.key"
    file.write_text(f"{desk.key}\n", encoding="utf-8")
    arguments = (job.name, "--upstream-id", upstream.job_id, "--api-key-file", str(file))
    code, output, errors = await imsgw(desk, *arguments, IMSGW_OPERATOR_KEY="")
    assert (code, errors) == (0, "")
    assert output.startswith(f"{job.name} is QUEUED")
    assert upstream.job_id in output
    assert (await desk.world.acme.get(job.name)).state == State.STATE_QUEUED
    code, output, errors = await imsgw(desk, *arguments)
    assert (code, output) == (10, "")
    assert "QUEUED, not SUBMIT_UNKNOWN" in errors


@ONE_DATABASE
async def test_command_prints_json_for_programs(desk):
    """With --output json the job is a document, and so is a refusal, on standard error."""
    job = await desk.unknown("drop")
    arguments = (job.name, "--never-created", "--output", "json")
    code, output, errors = await imsgw(desk, *arguments)
    assert (code, output) == (10, "")
    refusal = json.loads(errors)["error"]
    assert (refusal["code"], refusal["reason"]) == ("FAILED_PRECONDITION", "JOB_STATE")
    assert refusal["retry_after_seconds"] > WINDOW_SECONDS - 30
    desk.age(job.name, WINDOW_SECONDS + 10)
    code, output, errors = await imsgw(desk, *arguments)
    assert (code, errors) == (0, "")
    assert json.loads(output)["state"] == "STATE_REJECTED"


@ONE_DATABASE
async def test_command_s_exit_code_says_what_is_wrong(desk):
    """Each kind of failure has its own, and a key is never part of the command line."""
    job = await desk.unknown("drop")
    upstream = ("--upstream-id", "0" * 32)
    seen = {
        "both": (await imsgw(desk, job.name, *upstream, "--never-created"))[0],
        "neither": (await imsgw(desk, job.name))[0],
        "no key": (await imsgw(desk, job.name, *upstream, IMSGW_OPERATOR_KEY=""))[0],
        "name": (await imsgw(desk, "nonsense", "--never-created"))[0],
        "bad key": (await imsgw(desk, job.name, *upstream, IMSGW_OPERATOR_KEY="nobody"))[0],
        "tenant's key": (
            await imsgw(desk, job.name, *upstream, IMSGW_OPERATOR_KEY=desk.world.keys["acme"])
        )[0],
        "no job": (await imsgw(desk, "tenants/acme/jobs/nosuch", "--never-created"))[0],
        "unknown to the service": (await imsgw(desk, job.name, *upstream))[0],
    }
    assert seen == {
        "both": 2,
        "neither": 2,
        "no key": 2,
        "name": 3,
        "bad key": 4,
        "tenant's key": 5,
        "no job": 7,
        "unknown to the service": 10,
    }


async def test_watch_of_an_unknown_job_goes_on_after_its_resolution(tmp_path):
    """Whoever watches sees the job found again."""
    async with a_desk(tmp_path, settings={"submit_timeout_seconds": 2}) as desk:
        job = await desk.unknown()
        states: list[int] = []

        async def watch() -> None:
            async for seen in desk.world.acme.watch(job.name):
                states.append(seen.state)  # noqa: PERF401 - read while it grows

        watching = asyncio.create_task(watch())
        await until(lambda: states)
        await desk.resolve(job.name, upstream_job_id=desk.world.emulator.jobs[0].job_id)
        await asyncio.wait_for(watching, 30)
        assert states[0] == State.STATE_SUBMIT_UNKNOWN
        assert states[-1] == State.STATE_SUCCEEDED
