"""Files change while calls are made: each call is answered by one whole policy."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any

import grpc
import pytest
import yaml

from imsgateway.v1 import access_service_pb2, job_pb2
from tests.integration.world import World, refused, tenant_file, until

SWAPS = 1000
CALLERS = 4
# Of these two, every version of the policy denies one: never none, never both.
EVEN, ODD = "oss://acme-media/even/a.wav", "oss://acme-media/odd/a.wav"
WEB = "https://acme-media.oss-cn-shanghai.aliyuncs.com"
JOB = job_pb2.Job(
    audio_mixing={
        "input": {"oss_uri": EVEN},
        "output": {"uri": "oss://acme-media/out.wav"},
        "tracks": [{"file_uri": f"{WEB}/odd/a.wav"}],
    }
)
BAD = {
    "acme.yaml:1: account: not in accounts.yaml": {"account": "nowhere"},
    "acme.yaml:2: acount: Extra inputs are not permitted": {"acount": "main"},
}


def put(world: World, swap: int, **changes: Any) -> None:
    """Replace acme's file by one that denies the even or the odd folder, as a rename does."""
    denied = "even" if swap % 2 == 0 else "odd"
    file = tenant_file("acme", world.keys["acme"], **changes)
    deny = {
        "subject": "role/editor",
        "actions": ["submit"],
        "read": [f"oss://acme-media/{denied}/*"],
        "effect": "deny",
    }
    file = {**file, "grants": [*file["grants"], deny]}
    path = world.folder / "tenants" / "acme.yaml"
    beside = path.with_suffix(".new")
    beside.write_text(yaml.safe_dump(file), encoding="utf-8")
    os.utime(beside, ns=(swap * 10**9, swap * 10**9))
    beside.rename(path)


async def test_no_call_sees_half_a_policy_or_none(make_world):
    """A thousand good and bad files under load."""
    async with make_world() as world:
        put(world, 1)
        await world.gateway.configuration.reload()
        seen: dict[str, set[tuple[bool, bool]]] = {}
        done = asyncio.Event()
        callers = [asyncio.create_task(_ask(world, seen, done)) for _ in range(CALLERS)]
        for swap in range(2, SWAPS + 2):
            fault, change = [*BAD.items()][swap % 2]
            bad = swap % 3 == 0
            put(world, swap, **(change if bad else {}))
            await world.gateway.configuration.reload()
            faults = [str(found) for found in world.gateway.configuration.faults]
            assert faults == ([fault] if bad else []), swap
        done.set()
        answered = sum(await asyncio.gather(*callers))
    assert answered >= CALLERS
    assert {answers for found in seen.values() for answers in found} == {
        (True, False),
        (False, True),
    }
    # Two texts, and so two versions: each has always given the same answers.
    assert all(len(found) == 1 for found in seen.values())
    assert len(seen) == 2


async def _ask(world: World, seen: dict[str, set[tuple[bool, bool]]], done: asyncio.Event) -> int:
    count = 0
    while not done.is_set():
        request = access_service_pb2.ExplainAccessRequest(job=JOB)
        decision = (await world.acme.access.ExplainAccess(request)).decision
        allowed = {found.object: found.allowed for found in decision.objects}
        seen.setdefault(decision.policy_version, set()).add((allowed[EVEN], allowed[ODD]))
        count += 1
    return count


async def test_a_changed_file_is_in_force_without_being_asked_for(make_world):
    """A key that a file no longer has stops, and the calls of others go on."""
    async with make_world() as world:
        await world.acme.access.WhoAmI(access_service_pb2.WhoAmIRequest())
        put(world, 2, principals=[{"name": "nobody"}])

        async def stopped() -> bool:
            try:
                await world.acme.access.WhoAmI(access_service_pb2.WhoAmIRequest())
            except grpc.aio.AioRpcError as error:
                return error.code() is grpc.StatusCode.UNAUTHENTICATED
            return False

        await until(stopped)
        await world.globex.access.WhoAmI(access_service_pb2.WhoAmIRequest())


async def test_a_bad_file_at_the_start_leaves_out_its_tenant_only(make_world):
    """The other tenants are served, and mending the file brings the tenant in."""
    async with make_world(acme={"account": "nowhere"}) as world:
        answer = await refused(world.acme.access.WhoAmI(access_service_pb2.WhoAmIRequest()))
        assert answer.code is grpc.StatusCode.UNAUTHENTICATED
        assert [fault.file for fault in world.gateway.configuration.faults] == ["acme.yaml"]
        await world.globex.access.WhoAmI(access_service_pb2.WhoAmIRequest())
        put(world, 2)

        async def served() -> bool:
            with suppress(grpc.aio.AioRpcError):
                await world.acme.access.WhoAmI(access_service_pb2.WhoAmIRequest())
                return True
            return False

        await until(served)
        assert world.gateway.configuration.faults == ()


@pytest.mark.parametrize("name", ["accounts.yaml", "grants.yaml", "operators.yaml"])
async def test_a_file_of_the_platform_that_is_emptied_opens_nothing(make_world, name):
    """What was denied stays denied, and the fault is told."""
    async with make_world() as world:
        path = world.folder / name
        path.write_text("", encoding="utf-8")
        os.utime(path, ns=(10**9, 10**9))
        await world.gateway.configuration.reload()
        assert [fault.file for fault in world.gateway.configuration.faults] == [name]
        decision = await world.acme.access.ExplainAccess(
            access_service_pb2.ExplainAccessRequest(
                job=job_pb2.Job(cover={"input": {"oss_uri": "oss://globex-media/a.mp4"}})
            )
        )
        assert not decision.decision.allowed
