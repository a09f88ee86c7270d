"""Keys of accounts that end: rotated under load, gone, and back."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
import urllib.request
from contextlib import asynccontextmanager

import grpc
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ims_gateway.emulator.certificates import write_certificates
from ims_gateway.emulator.settings import AccessKey
from ims_gateway.identity.keys import new_key
from ims_gateway.tenancy.reading import ConfigurationError
from imsgateway.v1 import job_service_pb2
from tests.integration.test_process import BIN, configuration
from tests.integration.world import ENVIRONMENT, SECRET, a_world, answer_of, cover, refused
from tests.ports import free_address
from tests.sts import PROVIDER, ROLE, SSO_ACCOUNT, SSO_TOKEN, TOKEN, Refused, an_issuer

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
DOWN = Refused(503, "ServiceUnavailable")
Submit = job_service_pb2.SubmitJobRequest
INITECHS = cover("oss://initech-media/in.mp4")


@pytest.fixture
def token_file(tmp_path_factory):
    """Write the token that the cluster puts into a pod."""
    path = tmp_path_factory.mktemp("pod") / "token"
    path.write_text(TOKEN)
    return path


def pod(token_file):
    """Return what ack-pod-identity-webhook puts into a pod's environment."""
    return {
        "ALIBABA_CLOUD_ROLE_ARN": ROLE,
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": PROVIDER,
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(token_file),
    }


def rrsa(issuer):
    """Return credentials of RRSA: all but the stand-in's address comes from the pod."""
    return {"type": "oidc_role_arn", "sts_endpoint": issuer.address}


@asynccontextmanager
async def configuration_health(world):
    """Yield what waits until the health of the configuration is a certain one."""
    async with grpc.aio.insecure_channel(world.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="configuration"))

        async def becomes(status):
            async with asyncio.timeout(30):
                async for answer in watch:
                    if answer.status == status:
                        return

        yield becomes
        watch.cancel()


async def submits_until_refused(world):
    """Submit one job after the other; return how many were taken, and what the next was told."""
    accepted = 0
    async with asyncio.timeout(30):
        while True:
            try:
                await world.acme.jobs.SubmitJob(Submit(job=cover()))
            except grpc.aio.AioRpcError as error:
                return accepted, answer_of(error)
            accepted += 1


def key_pair(issuer, folder):
    """Return credentials of a key pair of RAM, whose session keys have no token."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    issuer.public_keys["LTAIpublic"] = private.public_key()
    form, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    text = private.private_bytes(form, kind, serialization.NoEncryption())
    (folder / "private.pem").write_bytes(text)
    return {
        "type": "rsa_key_pair",
        "public_key_id": "LTAIpublic",
        "private_key_file": str(folder / "private.pem"),
        "sts_endpoint": issuer.address,
    }


def cloud_sso(issuer, folder):
    """Return credentials of a profile of the aliyun command that somebody logged in."""
    profile = {
        "name": "media",
        "mode": "CloudSSO",
        "cloud_sso_sign_in_url": f"{issuer.address}/device/login",
        "cloud_sso_account_id": SSO_ACCOUNT["AccountId"],
        "cloud_sso_access_config": SSO_ACCOUNT["AccessConfigurationId"],
        "access_token": SSO_TOKEN,
        "cloud_sso_access_token_expire": int(time.time()) + 3600,
    }
    (folder / "config.json").write_text(json.dumps({"current": "media", "profiles": [profile]}))
    return {"type": "cli_profile", "file": str(folder / "config.json")}


KINDS = pytest.mark.parametrize(
    "credentials",
    [lambda issuer, _: rrsa(issuer), key_pair, cloud_sso],
    ids=["rrsa", "key_pair", "cloud_sso"],
)


@KINDS
async def test_keys_rotate_under_load_and_no_call_fails(
    tmp_path, tmp_path_factory, token_file, credentials
):
    """Keys last three seconds here, and calls go out without a pause."""
    with an_issuer(seconds=3) as issuer:
        async with a_world(
            tmp_path,
            account={"credentials": credentials(issuer, tmp_path_factory.mktemp("keys"))},
            access_keys=issuer.keys,
            environment=pod(token_file),
        ) as world:
            submitted = 0
            async with asyncio.timeout(60):
                while len(issuer.issued) < 5:
                    await asyncio.gather(*(world.acme.submit(cover()) for _ in range(4)))
                    submitted += 4

        used = {job.caller.access_key_id for job in world.emulator.jobs}

    assert len(world.emulator.jobs) == submitted
    assert len(used) >= 4
    assert used <= set(issuer.issued)


@KINDS
async def test_a_key_that_cannot_be_renewed_is_used_to_its_end_reported_and_replaced(
    tmp_path, tmp_path_factory, token_file, credentials
):
    """The alarm comes while calls still go well; then they are refused and cost nothing."""
    with an_issuer(seconds=4) as issuer:
        async with (
            a_world(
                tmp_path,
                account={"credentials": credentials(issuer, tmp_path_factory.mktemp("keys"))},
                access_keys=issuer.keys,
                environment=pod(token_file),
            ) as world,
            configuration_health(world) as becomes,
        ):
            await becomes(SERVING)
            issuer.refusal = DOWN
            await becomes(NOT_SERVING)
            accepted, answer = await submits_until_refused(world)

            assert answer.code is grpc.StatusCode.UNAVAILABLE
            assert answer.reason == "UPSTREAM_UNREACHABLE"
            assert accepted > 0
            assert (world.sent, world.used()) == (accepted, accepted)
            # The first may have been admitted in the key's last moment. The next ones are not.
            jobs = world.rows("SELECT count(*) FROM jobs")
            await refused(world.acme.jobs.SubmitJob(Submit(job=cover())))
            assert world.rows("SELECT count(*) FROM jobs") == jobs
            assert (world.sent, world.used()) == (accepted, accepted)
            issuer.refusal = None
            await becomes(SERVING)
            await world.acme.submit(cover())


async def test_an_outage_of_sts_stops_neither_the_start_nor_other_accounts(tmp_path, token_file):
    """Its account's calls are refused until there is a key; the others go on."""
    with an_issuer() as issuer:
        issuer.refusal = DOWN
        issuer.keys["AKID"] = AccessKey(SECRET)
        async with (
            a_world(
                tmp_path,
                accounts=[{"name": "other", "credentials": rrsa(issuer)}],
                others={"initech": {"account": "other"}},
                access_keys=issuer.keys,
                environment=pod(token_file) | ENVIRONMENT,
            ) as world,
            configuration_health(world) as becomes,
        ):
            await becomes(NOT_SERVING)
            await world.acme.submit(cover())
            initech = world.clients["initech"]
            answer = await refused(initech.jobs.SubmitJob(Submit(job=INITECHS)))
            assert answer.code is grpc.StatusCode.UNAVAILABLE

            issuer.refusal = None
            await becomes(SERVING)
            await initech.submit(INITECHS)


async def test_what_this_machine_knows_to_be_missing_stops_the_start(tmp_path):
    """All of it is said at once, each with its account."""
    rrsa_of_nobody = {"type": "oidc_role_arn", "oidc_token_file": str(tmp_path / "none")}
    with pytest.raises(ConfigurationError) as raised:
        async with a_world(
            tmp_path,
            accounts=[
                {"name": "two", "credentials": rrsa_of_nobody},
                {"name": "three", "credentials": {"type": "file", "path": str(tmp_path / "no")}},
            ],
            environment={"PATH": "/bin"},
        ):
            pass  # pragma: no cover

    assert [str(fault) for fault in raised.value.faults] == [
        "accounts.yaml: main: ALIBABA_CLOUD_ACCESS_KEY_ID is not set",
        ("accounts.yaml: two: role_arn is not given, and ALIBABA_CLOUD_ROLE_ARN is not set"),
        f"accounts.yaml: three: {tmp_path}/no: No such file or directory",
    ]


def test_a_process_trusts_an_sts_by_its_authorities_and_tells_no_secret(tmp_path, token_file):
    """Over HTTPS, as in a pod; what STS answers quotes the token."""
    tls = write_certificates(tmp_path / "tls")
    key = new_key()[1]
    with an_issuer(tls=(tls.chain_file, tls.key_file), token="another") as issuer:
        metrics = free_address()
        variables = configuration(tmp_path, key) | pod(token_file)
        change_account(tmp_path, credentials=rrsa(issuer))
        variables |= {"IMSGW_METRICS_LISTEN": metrics, "SSL_CERT_FILE": str(tls.ca_file)}
        process = subprocess.Popen(
            [BIN / "imsgw", "serve"], env=variables, stderr=subprocess.PIPE, text=True
        )
        try:
            lines = read_until(process, "serving")
            before = time_left(metrics)
            issuer.token = TOKEN
            lines += read_until(process, "credentials renewed")
            after = time_left(metrics)
        finally:
            process.terminate()
            lines += process.stderr.read().splitlines()
            process.stderr.close()
            process.wait()

        shown = "\n".join(lines)
        assert "AuthenticationFail.OIDCToken.Invalid" in shown
        assert "credentials in order again" in shown
        assert (before, 3000 < after <= 3600) == (0.0, True)
        secrets = [TOKEN, *(issued.secret for issued in issuer.keys.values())]
        secrets += [issued.security_token or TOKEN for issued in issuer.keys.values()]
        assert not [secret for secret in secrets if secret in shown]


def change_account(folder, **members):
    """Change members of the only account."""
    path = folder / "accounts.yaml"
    content = yaml.safe_load(path.read_text())
    content["accounts"][0] |= members
    path.write_text(yaml.safe_dump(content))


def read_until(process, event):
    """Return the lines of a log up to one of an event."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if json.loads(line)["event"] == event:
            return lines
    raise AssertionError(lines)


def time_left(address):
    """Return what the Prometheus port shows."""
    text = urllib.request.urlopen(f"http://{address}/metrics", timeout=10).read().decode()
    (line,) = re.findall(
        r"^imsgateway_credentials_time_left_seconds\{.*main.*\} (\S+)", text, re.MULTILINE
    )
    return float(line)
