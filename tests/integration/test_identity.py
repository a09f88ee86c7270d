"""Tokens, certificates and keys over real gRPC: who is let in, who is not, and until when."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from cryptography import x509

from ims_gateway.identity.keys import key_hash
from imsgateway.v1 import access_service_pb2, access_service_pb2_grpc, job_service_pb2_grpc
from imsgateway.v1 import job_service_pb2 as pb
from tests import issuers
from tests.integration.world import PEPPER, World, a_world, answer_of, cover, refused, until
from tests.issuers import ISSUER, SUBJECT, Authority, Published, a_key, a_token, claims, jwks

SPIFFE_ID = "spiffe://platform.test/ns/media/sa/render-farm"
ONE, TWO, OTHERS_KEY = (a_key(kid, "P-256") for kid in ("one", "two", "one"))
RSA = a_key("rsa")
ALGORITHMS = ["ES256", "RS256"]
AUTHORITY = Authority()


@dataclass
class Identities:
    """A gateway that trusts one issuer of tokens."""

    world: World
    published: Published
    folder: Path

    def tenant(self, **principal: Any) -> None:
        """Write acme's file anew, with another way to recognize its principal."""
        file = self.folder / "tenants" / "acme.yaml"
        content = yaml.safe_load(file.read_text("utf-8"))
        content["principals"][0] |= principal
        file.write_text(yaml.safe_dump(content), "utf-8")

    async def who(self, *metadata: tuple[str, str], credentials: Any = None) -> Any:
        """Return what WhoAmI answers over a new connection."""
        async with channel(self.world, credentials) as connection:
            stub = access_service_pb2_grpc.AccessServiceStub(connection)
            return await stub.WhoAmI(access_service_pb2.WhoAmIRequest(), metadata=metadata)


@asynccontextmanager
async def channel(world: World, credentials: Any = None) -> AsyncIterator[grpc.aio.Channel]:
    """Connect, over TLS where there are credentials."""
    if credentials is None:
        connection = grpc.aio.insecure_channel(world.target)
    else:
        options = (("grpc.use_local_subchannel_pool", 1),)
        connection = grpc.aio.secure_channel(world.target, credentials, options)
    async with connection:
        yield connection


def bearer(token: str) -> tuple[str, str]:
    """Return the metadata of a call."""
    return ("authorization", f"Bearer {token}")


def es(content: Any = None, key: Any = ONE, **headers: Any) -> str:
    """Return a token of the usual kind."""
    return a_token(key, content, alg="ES256", **headers)


@asynccontextmanager
async def identities(folder: Path, **settings: Any) -> AsyncIterator[Identities]:
    """Run a gateway with an issuer whose keys are at an HTTPS server."""
    pair = AUTHORITY.for_this_machine().write(folder, "issuer")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pair)
    (folder / "ca.pem").write_bytes(AUTHORITY.pem)
    token = {"issuer": "cluster", "claims": {"sub": SUBJECT}}
    robot = {"name": "robot", "roles": ["editor"], "tokens": [token], "spiffe_ids": [SPIFFE_ID]}
    key = {"id": "k1234567", "hash": key_hash(KEY, PEPPER.encode())}
    robot["keys"] = [key]
    with issuers.publishing(jwks(ONE, RSA), context) as published:
        issuer = {
            "name": "cluster",
            "issuer": ISSUER,
            "audiences": ["ims-gateway"],
            "algorithms": ALGORITHMS,
            "jwks_url": published.url,
            "ca_file": str(folder / "ca.pem"),
        }
        other = issuer | {"name": "other", "issuer": "https://other.test"}
        del other["jwks_url"], other["ca_file"]
        (folder / "other.json").write_bytes(jwks(OTHERS_KEY))
        other["jwks_file"] = str(folder / "other.json")
        content = yaml.safe_dump({"issuers": [issuer, other]})
        (folder / "issuers.yaml").write_text(content, "utf-8")
        async with a_world(
            folder, acme={"principals": [robot]}, settings=settings, job_seconds=600
        ) as world:
            yield Identities(world, published, folder)


KEY = "imsk_k1234567_" + "a" * 43


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Identities]:
    """Run a gateway without TLS."""
    async with identities(tmp_path) as found:
        yield found


async def test_a_good_token_and_a_good_key_are_their_principal(running):
    """WhoAmI says by what the caller was recognized, and until when."""
    ends = int(time.time()) + 600
    for token in (es(claims(exp=ends)), a_token(RSA, claims(exp=ends))):
        answer = await running.who(bearer(token))
        assert (answer.principal, answer.tenant) == ("principal/robot", "tenants/acme")
        assert answer.credential == f"token/cluster/{SUBJECT}"
        assert answer.expire_time.seconds == ends
    answer = await running.who(bearer(KEY))
    assert answer.credential == "key/k1234567"
    assert not answer.HasField("expire_time")
    # Verified tokens are verified by keys that are there.
    assert running.published.asked == 1


def bad_tokens() -> dict[str, tuple[str, ...]]:
    """Return credentials of which none is good."""
    now = time.time()
    good = es()
    pem, jwk = RSA.as_pem(private=False), RSA.as_dict(private=False)
    return {
        "none": (),
        "expired": (es(claims(exp=now - 1)),),
        "wrong audience": (es(claims(aud="api")),),
        "wrong issuer": (es(claims(iss="https://evil.test")),),
        "no exp": (es(claims(exp=None)),),
        "no aud": (es(claims(aud=None)),),
        "no sub": (es(claims(sub=None)),),
        "future nbf": (es(claims(nbf=now + 60)),),
        "unsigned": (issuers.unsigned(),),
        "key confusion": (issuers.confused(pem, kid="rsa"),),
        "key confusion by JWK": (issuers.confused(jwk["n"].encode(), kid="rsa"),),
        "replaced key": (es(key=a_key("one", "P-256")),),
        "another issuer's key": (es(key=OTHERS_KEY),),
        "our key for the other issuer": (es(claims(iss="https://other.test")),),
        "embedded key": (es(key=TWO, jwk=TWO.as_dict(private=False)),),
        "half a surrogate pair": (es(claims(sub="\ud800")),),
        "nobody's claims": (es(claims(sub="system:serviceaccount:media:other")),),
        "huge": (es(claims(more="x" * 8000)),),
        "garbage": ("aaaa.bbbb.cccc",),
        "a key that is none": ("imsk_k1234567_" + "b" * 43,),
        "two": (good, good),
        "two, one bad": (good, "x"),
    }


async def test_every_bad_credential_is_refused_alike(running):
    """Same code, message and details, whatever is wrong: nobody is told which check failed."""
    seen = set()
    for kind, tokens in bad_tokens().items():
        answer = await refused(running.who(*map(bearer, tokens)))
        assert answer.code == grpc.StatusCode.UNAUTHENTICATED, kind
        assert answer.metadata.keys() == {"decision_id"}, kind
        seen.add((answer.message, answer.reason, tuple(sorted(answer.details))))
    assert len(seen) == 1
    assert all(record["principal"] == "" for record in running.world.records)
    # The unknown keys among them.
    assert running.published.asked <= 2


async def test_no_token_reaches_log_or_record(running, capfd):
    """A token is as good as a password."""
    good, bad = es(), es(claims(exp=1))
    await running.who(bearer(good))
    await refused(running.who(bearer(bad)))
    output = capfd.readouterr()
    seen = f"{running.world.records}{output.out}{output.err}"
    for token in (good, bad):
        assert not any(part in seen for part in token.split("."))


async def test_a_removed_mapping_stops_a_remembered_token_at_the_reload(running):
    """Tokens are remembered, their principals are not."""
    token = es()
    await running.who(bearer(token))
    other = {"issuer": "cluster", "claims": {"sub": "somebody-else"}}
    running.tenant(tokens=[other])
    assert await stops(running, token) < 1.5


async def test_a_revoked_key_stops_at_the_reload(running):
    """Files are looked at every half second, and taken when they have rested for 0.2 s."""
    await running.who(bearer(KEY))
    running.tenant(keys=[])
    assert await stops(running, KEY) < 1.5


async def stops(running: Identities, credential: str) -> float:
    """Return after how many seconds a credential is refused."""
    began = time.monotonic()

    async def is_refused() -> bool:
        try:
            await running.who(bearer(credential))
        except grpc.aio.AioRpcError as error:
            return error.code() == grpc.StatusCode.UNAUTHENTICATED
        return False

    await until(is_refused)
    return time.monotonic() - began


async def test_the_keys_of_a_file_are_those_that_stand_in_it(running):
    """A key that was taken out stops; half a file changes nothing."""
    file = running.folder / "other.json"
    running.tenant(tokens=[{"issuer": "other", "claims": {"sub": SUBJECT}}])
    token = es(claims(iss="https://other.test"), OTHERS_KEY)
    await until(lambda: is_known(running, token))
    file.write_bytes(file.read_bytes()[:-5])
    for _ in range(3):
        await running.who(bearer(token))
        await asyncio.sleep(0.25)
    file.write_bytes(jwks(TWO))
    assert await stops(running, token) < 1.5


async def is_known(running: Identities, credential: str) -> bool:
    """Say whether a credential is accepted."""
    try:
        await running.who(bearer(credential))
    except grpc.aio.AioRpcError:
        return False
    return True


FAULTY = {
    "an error": {"status": 500},
    "a redirect": {"status": 302, "headers": {"location": "https://127.0.0.1:1/"}},
    "too much": {"document": b" " * 300_000},
    "not JSON": {"document": b"<html>"},
}


@pytest.mark.parametrize("kind", FAULTY)
async def test_keys_are_not_taken_from_a_faulty_endpoint(tmp_path, kind):
    """And nobody's token is believed then."""
    async with identities(tmp_path) as running:
        await until(lambda: running.published.asked)
        vars(running.published).update(FAULTY[kind])
        file = running.folder / "issuers.yaml"
        file.write_text(file.read_text("utf-8").replace("/jwks", "/jwks?new"), "utf-8")
        await until(lambda: running.published.asked > 1)
        await refused(running.who(bearer(es())))


async def test_keys_are_fetched_over_verified_tls_only(tmp_path):
    """A server of keys whose certificate nobody vouches for is none."""
    async with identities(tmp_path) as running:
        (tmp_path / "strange.pem").write_bytes(Authority().pem)
        file = running.folder / "issuers.yaml"
        file.write_text(file.read_text("utf-8").replace("ca.pem", "strange.pem"), "utf-8")
        await until(lambda: is_not(running, es()))
        assert (await refused(running.who(bearer(es())))).reason == "NOT_AUTHENTICATED"


async def is_not(running: Identities, credential: str) -> bool:
    """Say whether a credential is refused."""
    return not await is_known(running, credential)


# Streams.


@pytest.fixture
async def long(tmp_path: Path) -> AsyncIterator[Identities]:
    """Run a gateway whose jobs do not end by themselves."""
    async with identities(tmp_path, poll_interval_seconds=60) as found:
        yield found


@pytest.mark.parametrize("credential", ["key", "token", "expiring token"])
async def test_a_quiet_watch_ends_with_its_caller_s_credential(long, credential):
    """Within a second after it is gone, though nothing happens to the job."""
    expiring = es(claims(exp=time.time() + 3))
    secret = {"key": KEY, "token": es(), "expiring token": expiring}[credential]
    job = await submitted(long)
    async with channel(long.world) as connection:
        stub = job_service_pb2_grpc.JobServiceStub(connection)
        watch = stub.WatchJob(pb.WatchJobRequest(name=job), metadata=[bearer(secret)])
        await watch.read()
        if credential == "key":
            long.tenant(keys=[])
        elif credential == "token":
            long.tenant(tokens=[])
        began = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await watch.read()
    assert answer_of(ended.value).reason == "NOT_AUTHENTICATED"
    assert time.monotonic() - began < 6
    await until(lambda: len(long.world.gateway.watches) == 0)


async def submitted(running: Identities) -> str:
    """Submit a job and return its name."""
    async with channel(running.world) as connection:
        stub = job_service_pb2_grpc.JobServiceStub(connection)
        request = pb.SubmitJobRequest(job=cover())
        return (await stub.SubmitJob(request, metadata=[bearer(es())])).job.name


async def test_a_watch_ends_where_policy_no_longer_allows_it(tmp_path):
    """At the next message, which is not sent."""
    async with identities(tmp_path) as running:
        job = await submitted(running)
        async with channel(running.world) as connection:
            stub = job_service_pb2_grpc.JobServiceStub(connection)
            metadata = [bearer(es())]
            watch = stub.WatchJob(pb.WatchJobRequest(name=job), metadata=metadata)
            await watch.read()
            file = running.folder / "tenants" / "acme.yaml"
            content = yaml.safe_load(file.read_text("utf-8"))
            content["grants"].append(
                {"subject": "role/editor", "actions": ["watch"], "effect": "deny", "read": ["*"]}
            )
            content["grants"][0]["actions"] = ["submit", "get", "cancel"]
            file.write_text(yaml.safe_dump(content), "utf-8")
            again = pb.WatchJobRequest(name=job)

            async def is_denied() -> bool:
                try:
                    await stub.WatchJob(again, metadata=metadata).read()
                except grpc.aio.AioRpcError as error:
                    return error.code() == grpc.StatusCode.PERMISSION_DENIED
                return False

            await until(is_denied)
            await stub.CancelJob(pb.CancelJobRequest(name=job), metadata=metadata)
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await drained(watch)
    assert ended.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def drained(stream: Any) -> None:
    """Read a stream to its end."""
    while await stream.read() is not grpc.aio.EOF:
        pass


@pytest.mark.parametrize("quiet", [True, False], ids=["quiet", "busy"])
async def test_a_bulk_stream_ends_with_its_caller_s_credential(long, quiet):
    """No item is taken after that, whether the stream is busy or not."""
    async with channel(long.world) as connection:
        stub = job_service_pb2_grpc.JobServiceStub(connection)
        stream = stub.SubmitJobs(metadata=[bearer(KEY)])
        numbers = itertools.count()

        async def goes_on() -> bool:
            request = pb.SubmitJobRequest(job=cover())
            try:
                await stream.write(pb.SubmitJobsRequest(index=next(numbers), request=request))
                return bool(await stream.read())
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                return False

        assert await goes_on()
        long.tenant(keys=[])
        async with asyncio.timeout(10):
            while not quiet and await goes_on():
                pass
            assert await stream.code() == grpc.StatusCode.UNAUTHENTICATED
    sent = long.world.sent
    assert sent == long.world.rows("SELECT count(*) FROM jobs")[0][0]


# TLS.


@asynccontextmanager
async def over_tls(folder: Path, *, mutual: bool) -> AsyncIterator[Identities]:
    """Run a gateway with a certificate, and with authorities for those of clients."""
    certificate, key = AUTHORITY.for_this_machine().write(folder, "server")
    (folder / "clients.pem").write_bytes(AUTHORITY.pem)
    async with identities(
        folder,
        tls_certificate_file=certificate,
        tls_key_file=key,
        tls_client_ca_file=folder / "clients.pem" if mutual else None,
    ) as running:
        yield running


def client(*names: x509.GeneralName, authority: Authority = AUTHORITY, **options: Any) -> Any:
    """Return the credentials of a client whose certificate has these names."""
    pair = authority.pair(*names, **options)
    return grpc.ssl_channel_credentials(AUTHORITY.pem, pair.key, pair.certificate)


def uri(text: str) -> x509.GeneralName:
    """Return a name of a certificate."""
    return x509.UniformResourceIdentifier(text)


async def test_a_spiffe_id_is_its_principal_and_a_bearer_decides_before_it(tmp_path):
    """A bad key is refused however good the certificate, and no other certificate is anybody."""
    async with over_tls(tmp_path, mutual=True) as running:
        workload = client(uri(SPIFFE_ID), x509.DNSName("render-farm.media.svc"))
        answer = await running.who(credentials=workload)
        assert (answer.principal, answer.credential) == ("principal/robot", SPIFFE_ID)
        assert answer.HasField("expire_time")
        nobody = client(common_name="principal/robot")
        by_key = await running.who(bearer(KEY), credentials=nobody)
        assert by_key.credential == "key/k1234567"
        await same_refusals(
            running.who(bearer(KEY[:-1] + "b"), credentials=workload),
            running.who(("authorization", ""), credentials=workload),
            *(running.who(credentials=client(*names)) for names in NOBODY.values()),
        )
        running.tenant(spiffe_ids=[])
        async with channel(running.world, workload) as connection:
            stub = access_service_pb2_grpc.AccessServiceStub(connection)

            async def is_refused() -> bool:
                try:
                    await stub.WhoAmI(access_service_pb2.WhoAmIRequest())
                except grpc.aio.AioRpcError as error:
                    return error.code() == grpc.StatusCode.UNAUTHENTICATED
                return False

            await until(is_refused)


NOBODY = {
    "no name": (),
    "another id": (uri("spiffe://platform.test/ns/media/sa/other"),),
    "an id below": (uri(f"{SPIFFE_ID}/x"),),
    "another trust domain": (uri(SPIFFE_ID.replace("platform", "evil")),),
    "two ids": (uri(SPIFFE_ID), uri("spiffe://platform.test/ns/media/sa/other")),
    "an id and another URI": (uri(SPIFFE_ID), uri("https://platform.test")),
    "the id as a DNS name": (x509.DNSName(SPIFFE_ID),),
    "the id as mail": (x509.RFC822Name(SPIFFE_ID),),
}


async def same_refusals(*calls: Any) -> None:
    """Await calls that must all be refused alike."""
    answers = [await refused(call) for call in calls]
    assert {(answer.reason, answer.message) for answer in answers} == {
        ("NOT_AUTHENTICATED", answers[0].message)
    }


async def test_certificates_that_nobody_vouches_for_get_no_connection(tmp_path):
    """Nor does a client without any, or with one that has ended."""
    async with over_tls(tmp_path, mutual=True) as running:
        ended = datetime.now(UTC) - timedelta(minutes=1)
        for credentials in (
            client(uri(SPIFFE_ID), authority=Authority()),
            client(uri(SPIFFE_ID), ends=ended),
            grpc.ssl_channel_credentials(AUTHORITY.pem),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await running.who(bearer(KEY), credentials=credentials)
            assert failed.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_that_ends_is_nobody_s_on_an_open_connection(tmp_path):
    """TLS looks at it once, when the connection begins."""
    async with over_tls(tmp_path, mutual=True) as running:
        ends = datetime.now(UTC) + timedelta(seconds=3)
        async with channel(running.world, client(uri(SPIFFE_ID), ends=ends)) as connection:
            stub = access_service_pb2_grpc.AccessServiceStub(connection)
            await stub.WhoAmI(access_service_pb2.WhoAmIRequest())

            async def is_refused() -> bool:
                try:
                    await stub.WhoAmI(access_service_pb2.WhoAmIRequest())
                except grpc.aio.AioRpcError as error:
                    return error.code() == grpc.StatusCode.UNAUTHENTICATED
                return False

            await until(is_refused)


async def test_without_client_authorities_a_certificate_says_nothing(tmp_path):
    """It was not verified."""
    async with over_tls(tmp_path, mutual=False) as running:
        await refused(running.who(credentials=client(uri(SPIFFE_ID))))
        assert await running.who(bearer(KEY), credentials=client(uri(SPIFFE_ID)))


async def test_the_server_s_certificate_changes_without_a_failed_call(tmp_path):
    """New connections get the new one within a second; a bad pair changes nothing."""
    async with over_tls(tmp_path, mutual=True) as running:
        workload = client(uri(SPIFFE_ID))
        calls, serving = 0, True

        async def load() -> None:
            nonlocal calls
            while serving:
                await running.who(credentials=workload)
                calls += 1

        async with channel(running.world, workload) as connection, asyncio.TaskGroup() as group:
            stub = access_service_pb2_grpc.AccessServiceStub(connection)
            loads = [group.create_task(load()) for _ in range(4)]
            for _ in range(3):
                before, pair = served(running, tmp_path), AUTHORITY.for_this_machine()
                # As anybody would write them: not at once, and in pieces.
                (tmp_path / "server.pem").write_bytes(pair.certificate[:100])
                await asyncio.sleep(0.6)
                assert await asyncio.to_thread(served, running, tmp_path) == before
                (tmp_path / "server.pem").write_bytes(pair.certificate)
                await asyncio.sleep(0.6)
                assert await asyncio.to_thread(served, running, tmp_path) == before
                (tmp_path / "server.key").write_bytes(pair.key)
                expected = ssl.PEM_cert_to_DER_cert(pair.certificate.decode())

                async def is_served(wanted: bytes = expected) -> bool:
                    return await asyncio.to_thread(served, running, tmp_path) == wanted

                await until(is_served)
                await stub.WhoAmI(access_service_pb2.WhoAmIRequest())
            serving = False
        assert all(task.exception() is None for task in loads)
        assert calls > 20


def served(running: Identities, folder: Path) -> bytes:
    """Return the certificate that a new connection gets."""
    context = ssl.create_default_context(cafile=str(folder / "clients.pem"))
    pair = AUTHORITY.pair(uri(SPIFFE_ID)).write(folder, "looker")
    context.load_cert_chain(*pair)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", running.world.gateway.port)) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True) or b""
