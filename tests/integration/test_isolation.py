"""Every RPC, found by reflection, called by everybody who must get nothing from it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from ims_gateway.identity.keys import new_key
from imsgateway.v1 import job_service_pb2
from tests.integration.world import World, answer_of, cover, tenant_file
from tests.issuers import (
    AUDIENCE,
    ISSUER,
    SUBJECT,
    a_key,
    a_token,
    claims,
    confused,
    jwks,
    unsigned,
)

MARK = "MARKED-ACME"
Request = dict[str, Any]
JOB = {"cover": {"input": {"oss_uri": "oss://globex-media/in.mp4"}}}

# What each RPC is asked, given the name of a job and of a tenant. An RPC that is not here fails the
# sweep: whoever adds one says how it is asked about what is another tenant's.
REQUESTS: dict[str, Callable[[str, str], Request]] = {
    "JobService/SubmitJob": lambda _, tenant: {"parent": tenant, "job": JOB},
    "JobService/SubmitJobs": lambda _, tenant: {
        "index": 1,
        "request": {"parent": tenant, "job": JOB},
    },
    "JobService/GetJob": lambda job, _: {"name": job, "include_download_urls": True},
    "JobService/GetJobTrace": lambda job, _: {"name": f"{job}/trace"},
    "JobService/ListJobs": lambda _, tenant: {"parent": tenant},
    "JobService/WatchJob": lambda job, _: {"name": job},
    "JobService/CancelJob": lambda job, _: {"name": job},
    "AccessService/WhoAmI": lambda *_: {},
    "AccessService/ListAlgorithms": lambda _, tenant: {"parent": tenant},
    "AccessService/ExplainAccess": lambda _, tenant: {"parent": tenant, "job": JOB},
    "QuotaService/GetUsage": lambda _, tenant: {"parent": tenant},
    "QuotaService/ListUsageHistory": lambda _, tenant: {"parent": tenant},
    "AdminService/ListTenants": lambda *_: {},
    "AdminService/ListDecisions": lambda _, tenant: {"parent": tenant},
    "AdminService/ResolveJob": lambda job, _: {"name": job, "never_created": {}},
    "AdminService/Reload": lambda *_: {},
}


@pytest.fixture
async def world(make_world: Any) -> AsyncIterator[World]:
    """Run a gateway that believes an issuer, with a job of acme on its books."""
    async with make_world() as running:
        yield running


@pytest.fixture
async def key(world: World) -> Any:
    """Return the key of an issuer by whose tokens acme has a caller."""
    key = a_key("one")
    keys = world.folder / "jwks.json"
    keys.write_bytes(jwks(key))
    issuer = {"name": "cluster", "issuer": ISSUER, "audiences": [AUDIENCE], "jwks_file": str(keys)}
    _write(world, "issuers.yaml", {"issuers": [issuer]})
    file = tenant_file("acme", world.keys["acme"])
    file["principals"][0]["tokens"] = [{"issuer": "cluster", "claims": {"sub": SUBJECT}}]
    _write(world, "tenants/acme.yaml", file)
    await world.gateway.configuration.reload()
    assert world.gateway.configuration.faults == ()
    return key


def _write(world: World, name: str, content: Any) -> None:
    path = world.folder / name
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    os.utime(path, ns=(10**9, 10**9))


@pytest.fixture
async def job(world: World) -> str:
    """Return the name of a job of acme, in which much is marked."""
    wish = cover(f"oss://acme-media/{MARK}.mp4", display_name=MARK, user_data=MARK)
    wish.labels["mark"] = MARK.lower()
    answer = await world.acme.jobs.SubmitJob(job_service_pb2.SubmitJobRequest(job=wish))
    return str(answer.job.name)


@pytest.fixture
async def methods(world: World) -> list[MethodDescriptor]:
    """Return every RPC of ours that the server's reflection tells of."""
    return await asyncio.to_thread(_reflected, world.target)


def _reflected(target: str) -> list[MethodDescriptor]:
    with grpc.insecure_channel(target) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        names = [name for name in database.get_services() if name.startswith("imsgateway.")]
        pool = descriptor_pool.DescriptorPool(database)
        # Our own classes, so that details and options are known.
        known = descriptor_pool.Default()
        return [
            known.FindMethodByName(method.full_name)
            for name in names
            for method in pool.FindServiceByName(name).methods
        ]


def asked(method: MethodDescriptor, job: str, tenant: str) -> Message:
    """Return the request of an RPC about a job and a tenant."""
    make = REQUESTS[f"{method.containing_service.name}/{method.name}"]
    return GetMessageClass(method.input_type)(**make(job, tenant))


async def call(
    world: World, method: MethodDescriptor, request: Message, credential: str | None
) -> tuple[list[Message], grpc.aio.AioRpcError | None]:
    """Make one call, whatever its kind; returns the answers and the error."""
    metadata = () if credential is None else (("authorization", f"Bearer {credential}"),)
    path = f"/{method.containing_service.full_name}/{method.name}"
    kind = ("stream" if method.client_streaming else "unary") + (
        "_stream" if method.server_streaming else "_unary"
    )
    async with grpc.aio.insecure_channel(world.target) as channel:
        rpc = getattr(channel, kind)(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        sent = iter([request]) if method.client_streaming else request
        try:
            started = rpc(sent, metadata=metadata, timeout=20)
            if method.server_streaming:
                return [answer async for answer in started], None
            return [await started], None
        except grpc.aio.AioRpcError as error:
            return [], error


def told(error: grpc.aio.AioRpcError | None, *names: str) -> str:
    """Return all that a caller sees of a refusal, less what it sent and the decision's id."""
    assert error is not None
    answer = answer_of(error)
    seen = repr((answer.code, answer.message, answer.reason, answer.metadata, answer.details))
    for name in (answer.metadata["decision_id"], *names):
        seen = seen.replace(name, "…")
    return seen


async def test_the_sweep_knows_every_rpc(methods):
    """One that nobody thought of would be one that nobody tried."""
    found = {f"{method.containing_service.name}/{method.name}" for method in methods}
    assert found == REQUESTS.keys()


async def test_a_good_token_is_let_in(world, key, methods):
    """Else the refusals below would show nothing."""
    who = next(method for method in methods if method.name == "WhoAmI")
    [answer], _ = await call(world, who, asked(who, "", ""), a_token(key))
    assert (answer.principal, answer.tenant) == ("principal/robot", "tenants/acme")


def bad_credentials(key: Any) -> Iterator[tuple[str, str | None]]:
    """Yield every kind of credential that must not be accepted."""
    now = time.time()
    good = a_token(key)
    yield "none at all", None
    yield "an unknown key", new_key()[1]
    yield "expired", a_token(key, claims(exp=now - 1))
    yield "without an end", a_token(key, claims(exp=None))
    yield "of the future", a_token(key, claims(nbf=now + 600))
    yield "for another audience", a_token(key, claims(aud="somebody-else"))
    yield "for no audience", a_token(key, claims(aud=None))
    yield "of another issuer", a_token(key, claims(iss="https://evil.example"))
    yield "of no issuer", a_token(key, claims(iss=None))
    yield "of a caller whom nobody knows", a_token(key, claims(sub="stranger"))
    yield "of no subject", a_token(key, claims(sub=None))
    yield "without a signature", unsigned()
    yield "signed with the public key as a secret", confused(key.as_pem(private=False))
    yield "signed with a replaced key", a_token(a_key("one"))
    yield "with a key of its own", a_token(a_key("one"), jwk=key.as_dict(private=False))
    yield "with another key's id", a_token(key, kid="two")
    yield "with an extension to be understood", a_token(key, crit=["x"], x=1)
    yield "changed by one letter", good[:-5] + ("A" if good[-5] != "A" else "B") + good[-4:]
    yield "cut short", good.rpartition(".")[0]
    yield "nonsense", "eyJhbGciOiJSUzI1NiJ9.e30."


async def test_nobody_gets_anything_and_learns_nothing(world, key, methods, job):
    """Every RPC refuses every bad credential with the same words."""
    answers = set()
    sent = world.sent
    for method in methods:
        for what, credential in bad_credentials(key):
            replies, error = await call(
                world, method, asked(method, job, "tenants/acme"), credential
            )
            assert replies == [], (method.full_name, what)
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED, (method.full_name, what)
            answers.add(told(error))
    assert len(answers) == 1
    assert world.sent == sent


async def test_what_is_not_yours_is_not_there(world, methods, job):
    """Every RPC tells another tenant's caller the same of what there is and what there is not."""
    absent = "tenants/acme/jobs/0123456789abcd-0123456789"
    for method in methods:
        real = await call(world, method, asked(method, job, "tenants/acme"), world.keys["globex"])
        none = await call(
            world, method, asked(method, absent, "tenants/nobody"), world.keys["globex"]
        )
        if real[1] is None:
            answers = [_less_ids(reply) for reply in real[0]]
            assert answers == [_less_ids(reply) for reply in none[0]], method.full_name
        else:
            seen = told(real[1], job, "tenants/acme")
            assert seen == told(none[1], absent, "tenants/nobody"), method.full_name
        everything = "".join(map(str, real[0])) + (repr(real[1]) if real[1] else "")
        assert MARK not in everything, method.full_name
        assert MARK.lower() not in everything, method.full_name


def _less_ids(reply: Message) -> str:
    """Return a reply without the ids that no two calls share, and without names that were sent."""
    lines = str(reply).splitlines()
    return "\n".join(line for line in lines if "decision_id" not in line)


async def test_a_tenant_s_caller_is_no_operator(world, methods, job):
    """Whatever it is asked, the platform's side refuses it before it looks at the request."""
    for method in methods:
        if method.containing_service.name == "AdminService":
            request = asked(method, job, "tenants/acme")
            replies, error = await call(world, method, request, world.keys["acme"])
            assert replies == []
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED, method.full_name


async def test_a_submit_for_another_tenant_sends_nothing(world, methods):
    """It costs neither of them anything."""
    for method in methods:
        if method.name in ("SubmitJob", "SubmitJobs"):
            request = asked(method, "", "tenants/acme")
            await call(world, method, request, world.keys["globex"])
    assert world.sent == 0
    assert world.used() == 0
