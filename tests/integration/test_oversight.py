"""What operators see of tenants and files, by gRPC, by health, by metrics and by imsgw."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ims_gateway.identity.keys import new_key
from imsgateway.v1 import admin_service_pb2 as pb
from imsgateway.v1 import job_service_pb2
from tests.integration.test_resolution import Desk, a_desk
from tests.integration.world import cover, refused, tenant_file, until

IMSGW = Path(sys.executable).parent / "imsgw"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def desk(tmp_path):
    """Run a gateway with an operator."""
    async with a_desk(tmp_path) as running:
        yield running


def put(desk: Desk, name: str, text: str) -> None:
    """Write a tenant's file."""
    (desk.world.folder / "tenants" / f"{name}.yaml").write_text(text, encoding="utf-8")


def broken(desk: Desk) -> str:
    """Return acme's file with a fault in its second line."""
    text = (desk.world.folder / "tenants" / "acme.yaml").read_text(encoding="utf-8")
    return text.replace("account: main", "account: nosuch")


async def tenants(desk: Desk, **request) -> pb.ListTenantsResponse:
    """Return one page of tenants."""
    return await desk.client.admin.ListTenants(pb.ListTenantsRequest(**request))


async def reload(desk: Desk) -> pb.ReloadResponse:
    """Have the files looked at."""
    return await desk.client.admin.Reload(pb.ReloadRequest())


def samples(desk: Desk, name: str, label: str = "imsgateway_outcome") -> dict[str, float]:
    """Return what the Prometheus port shows of a metric, by one of its labels."""
    return {
        sample.labels.get(label, ""): sample.value
        for metric in desk.world.gateway.metrics.collect()
        for sample in metric.samples
        if sample.name.startswith(name)
    }


async def health(desk: Desk, service: str) -> int:
    """Return what the health service says of a service."""
    async with grpc.aio.insecure_channel(desk.world.target) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        return (await health_pb2_grpc.HealthStub(channel).Check(request)).status


async def test_tenants_are_listed_by_name_and_by_pages(desk):
    """Each with the version in force and who pays for it."""
    for name in ("alpha", "zeta"):
        put(desk, name, yaml.safe_dump(tenant_file(name, new_key()[1])))
    assert (await reload(desk)).tenants == 4
    names, token = [], ""
    for _ in range(4):
        page = await tenants(desk, page_size=1, page_token=token)
        names += [tenant.name for tenant in page.tenants]
        token = page.next_page_token
    assert names == [f"tenants/{name}" for name in ("acme", "alpha", "globex", "zeta")]
    assert token == ""
    (first, *_) = (await tenants(desk)).tenants
    assert (first.account, list(first.faults)) == ("main", [])
    assert first.version
    answer = await refused(desk.client.admin.ListTenants(pb.ListTenantsRequest(page_token="?")))
    assert answer.paths == ["page_token"]


async def test_version_in_the_list_is_the_one_that_decisions_name(desk):
    """So that a decision can be told from those of another version."""
    request = job_service_pb2.SubmitJobRequest(job=cover(), validate_only=True)
    answer = await desk.world.acme.jobs.SubmitJob(request)
    (acme, _) = (await tenants(desk)).tenants
    assert acme.version == answer.decision.policy_version


async def test_reload_takes_what_was_written_a_moment_ago(desk):
    """It waits until the file stands still, and says how many tenants there are."""
    before = (await tenants(desk)).tenants[0].version
    text = (desk.world.folder / "tenants" / "acme.yaml").read_text(encoding="utf-8")
    put(desk, "acme", f"# changed\n{text}")
    answer = await reload(desk)
    assert (list(answer.faults), answer.tenants) == ([], 2)
    assert (await tenants(desk)).tenants[0].version != before


async def test_file_that_is_not_taken_is_told_wherever_an_operator_looks(desk):
    """Reload, the tenant's entry, health and metrics; what was in force stays so."""
    version = (await tenants(desk)).tenants[0].version
    good = (desk.world.folder / "tenants" / "acme.yaml").read_text(encoding="utf-8")
    put(desk, "acme", broken(desk))
    (fault,) = (await reload(desk)).faults
    assert (fault.file, fault.message) == ("acme.yaml", "account: not in accounts.yaml")
    assert good.splitlines()[fault.line - 1].startswith("account:")
    acme, globex = (await tenants(desk)).tenants
    assert (list(acme.faults), acme.version) == ([fault], version)
    assert not globex.faults
    await until(lambda: _is(desk, "configuration", NOT_SERVING))
    assert await health(desk, "") == SERVING
    assert await health(desk, "imsgateway.v1.JobService") == SERVING
    assert samples(desk, "imsgateway_configuration_faults") == {"": 1}
    assert samples(desk, "imsgateway_configuration_reloads_total")["faulty"] >= 1
    await desk.world.acme.submit(cover())

    put(desk, "acme", good)
    assert not (await reload(desk)).faults
    await until(lambda: _is(desk, "configuration", SERVING))
    assert not (await tenants(desk)).tenants[0].faults
    assert samples(desk, "imsgateway_configuration_faults") == {"": 0}
    assert samples(desk, "imsgateway_configuration_reloads_total")["taken"] >= 1
    lost = {"log": 0, "store": 0}
    assert samples(desk, "imsgateway_decisions_lost_total", "imsgateway_sink") == lost


async def test_start_with_a_bad_tenant_says_so(tmp_path):
    """The others are served, and health tells of the one that is not."""
    async with a_desk(tmp_path) as desk:
        put(desk, "bad", "name: bad\n")
        async with desk.world.replica() as other:
            beside = Desk(other, desk.key, desk.client)
            assert await health(beside, "configuration") == NOT_SERVING
            assert await health(beside, "") == SERVING


async def _is(desk: Desk, service: str, status: int) -> bool:
    return await health(desk, service) == status


async def imsgw(desk: Desk, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run imsgw, and return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        IMSGW,
        *arguments,
        "--target",
        desk.world.target,
        env={**os.environ, "IMSGW_OPERATOR_KEY": desk.key, "COLUMNS": "200", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


async def test_commands_list_tenants_and_reload(desk):
    """For people and for programs; faults that are left are an exit code."""
    code, output, _ = await imsgw(desk, "tenants", "list")
    assert code == 0
    assert "tenants/acme" in output
    assert "in force" in output
    put(desk, "acme", broken(desk))
    code, output, _ = await imsgw(desk, "reload")
    assert code == 1
    assert "not taken: acme.yaml:" in output
    assert "2 tenants in force" in output
    code, output, _ = await imsgw(desk, "tenants", "list", "--output", "json")
    assert code == 0
    assert json.loads(output)["tenants"][0]["faults"][0]["file"] == "acme.yaml"
    code, output, _ = await imsgw(desk, "reload", "--output", "json")
    assert (code, json.loads(output)["tenants"]) == (1, 2)


async def test_command_lists_decisions_and_shows_one_in_full(desk):
    """A caller reads its decision id out, and the operator sees why."""
    request = job_service_pb2.SubmitJobRequest(job=cover("oss://globex-media/in.mp4"))
    decision_id = (await refused(desk.world.acme.jobs.SubmitJob(request))).metadata["decision_id"]

    async def is_there() -> bool:
        request = pb.ListDecisionsRequest(decision_id=decision_id)
        return bool((await desk.client.admin.ListDecisions(request)).decisions)

    await until(is_there)
    code, output, errors = await imsgw(desk, "decisions", "list", "--id", decision_id)
    assert (code, errors) == (0, "")
    assert "denied read oss://globex-media/in.mp4" in output
    assert "POLICY_DENIED" in output
    code, output, _ = await imsgw(desk, "decisions", "list", "--reason", "POLICY_DENIED")
    assert decision_id in output
    code, output, _ = await imsgw(
        desk, "decisions", "list", "--code", "PERMISSION_DENIED", "--output", "json"
    )
    assert [each["decisionId"] for each in json.loads(output)["decisions"]] == [decision_id]
    code, output, _ = await imsgw(desk, "decisions", "list", "--id", "nosuch")
    assert "no such decision" in output


async def test_commands_are_for_operators(desk):
    """A tenant's key is denied, and the exit code says so."""
    for arguments in (("tenants", "list"), ("decisions", "list"), ("reload",)):
        key = desk.world.keys["acme"]
        code, output, errors = await imsgw(desk, *arguments, IMSGW_OPERATOR_KEY=key)
        assert (code, output) == (5, "")
        assert "not an operator" in errors
