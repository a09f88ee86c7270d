"""imsgw doctor: each thing broken for real, one at a time."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from cryptography import x509
from pydantic import SecretStr

from ims_gateway.doctor.examination import examine
from ims_gateway.emulator.faults import FaultKind, FaultPlan
from ims_gateway.emulator.server import Emulator
from ims_gateway.emulator.settings import AccessKey, EmulatorSettings
from ims_gateway.identity.keys import new_key
from ims_gateway.jobs.migrate import upgrade
from ims_gateway.settings import Settings
from ims_gateway.telemetry import prometheus
from tests.integration.test_process import configuration, imsgw
from tests.integration.world import ENVIRONMENT, PEPPER, SECRET, a_world, rows_of, tenant_file
from tests.issuers import Authority, a_key, jwks
from tests.ports import free_address
from tests.sts import PROVIDER, ROLE, TOKEN, Refused, an_issuer

AUTHORITY = Authority()
QUICK = 5.0


@dataclass
class Surroundings:
    """What is around a gateway that does not run: files, a ledger, and an emulator upstream."""

    folder: Path
    emulator: Emulator
    settings: Settings
    key: str
    target: str = "127.0.0.1:0"


@pytest.fixture
async def world(tmp_path):
    """Give a gateway's surroundings."""
    emulated = EmulatorSettings({"AKID": AccessKey(SECRET)}, http_port=None, https_port=0)
    async with Emulator(emulated) as emulator:
        key = new_key()[1]
        variables = configuration(tmp_path, key)
        url = variables["IMSGW_DATABASE_URL"]
        upgrade(url)
        settings = Settings(
            config_dir=tmp_path,
            key_pepper=PEPPER,
            database_url=url,
            decision_log=variables["IMSGW_DECISION_LOG"],
        )
        around = Surroundings(tmp_path, emulator, settings, key)
        change(around, endpoint=emulator.https_endpoint, ca_file=str(emulator.ca_file))
        yield around


async def doctor(world, environment=ENVIRONMENT, seconds=QUICK, **settings):
    """Return what is found about a world, but for its gateway's port, which was any."""
    changed = {"listen": world.target, "metrics_listen": ""} | settings
    return await examine(world.settings.model_copy(update=changed), environment, seconds)


def of(found, check, subject=None):
    """Return the findings of one check, as pairs of level and words."""
    return [
        (str(each.level), each.found)
        for each in found
        if each.check == check and subject in (None, each.subject)
    ]


def change(world, name="accounts.yaml", /, **members):
    """Change members of the first account, or write another file."""
    path = world.folder / name
    if name == "accounts.yaml":
        content = yaml.safe_load(path.read_text())
        content["accounts"][0] |= members
    else:
        content = members
    path.write_text(yaml.safe_dump(content))


async def test_all_is_well_around_a_running_gateway(tmp_path):
    """Nothing fails, and everything that asks for something says what."""
    metrics = free_address()
    async with a_world(tmp_path) as world:
        with prometheus.shown(world.gateway.metrics, metrics):
            found = await doctor(world, metrics_listen=metrics)
        assert world.sent == 0

    levels = {(each.check, str(each.level)) for each in found}
    assert {level for _, level in levels} <= {"ok", "warn"}
    assert {check for check, level in levels if level == "warn"} <= {"policy"}
    assert all(each.advice for each in found if each.level != "ok")
    served = [("ok", f"{address} is served by a gateway") for address in (world.target, metrics)]
    assert of(found, "port") == [served[0], ("ok", "off"), served[1]]
    assert ("ok", "takes the signature") in of(found, "upstream")
    assert of(found, "credentials") == [("ok", "environment: does not end by itself")]


async def test_it_needs_no_gateway_and_makes_no_database(world, tmp_path):
    """It looks, and leaves everything as it is."""
    unused = tmp_path / "unused.db"
    settings = world.settings.model_copy(update={"listen": "127.0.0.1:0"})
    settings = type(settings)(**settings.model_dump() | {"database_url": f"sqlite:///{unused}"})
    found = await examine(settings, ENVIRONMENT, QUICK)
    assert of(found, "store") == [("warn", f"{unused} is not there yet")]
    assert not unused.exists()


# Store.


async def test_a_ledger_is_looked_over(world, database_url):
    """On each kind of database."""
    found = await doctor(world, **as_url(database_url))
    assert ("ok", "allowed") in of(found, "store", "writing")
    assert of(found, "store", "clock")[0][0] == "ok"


@pytest.mark.parametrize(
    ("revision", "level", "said"),
    [(1, "warn", "older than"), (9999, "fail", "knows nothing")],
)
async def test_another_schema_is_told(world, database_url, revision, level, said):
    """An older one is brought up by a start, a later one needs a later version."""
    rows_of(database_url, f"UPDATE alembic_version SET version_num = '{revision:04}'")  # noqa: S608 - our own text
    ((found, words),) = of(await doctor(world, **as_url(database_url)), "store", "schema")
    assert (found, said in words) == (level, True)


async def test_a_database_without_a_schema_is_told(world, postgresql):
    """The next start makes one."""
    url = postgresql.new_database(migrated=False)
    found = await doctor(world, **as_url(url))
    assert of(found, "store", "schema") == [("warn", "there is none")]


async def test_a_database_that_hangs_holds_up_nothing(world, postgresql):
    """Not even the end of the command: what waits for it is not waited for."""
    url = postgresql.new_database()
    with postgresql.frozen():
        found = await doctor(world, seconds=2.0, **as_url(url))
    assert [level for level, _ in of(found, "store")] == ["fail"]
    assert ("ok", "takes the signature") in of(found, "upstream")


async def test_a_user_who_may_not_write_is_told(world, postgresql):
    """The gateway could start, and would refuse every job."""
    url = postgresql.new_database()
    rows_of(url, "DROP ROLE IF EXISTS reader")
    rows_of(url, "CREATE ROLE reader LOGIN")
    rows_of(url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    found = await doctor(world, **as_url(url.replace("postgres@", "reader@")))
    rows_of(url, "DROP OWNED BY reader")
    assert of(found, "store", "writing") == [("fail", "permission denied for table jobs")]


@pytest.mark.parametrize(
    "url", ["postgresql://ims:hush-hush@127.0.0.1:1/x", "sqlite:////nowhere/at/all.db"]
)
async def test_a_database_that_is_not_there_is_told_without_its_password(world, url):
    """And all other checks go on."""
    found = await doctor(world, **as_url(url))
    assert [level for level, _ in of(found, "store")] == ["fail"]
    assert "hush-hush" not in repr(found)
    assert ("ok", "takes the signature") in of(found, "upstream")


def as_url(url):
    """Return the settings of a database."""
    return {"database_url": SecretStr(url)}


# Files.


async def test_faulty_files_are_named_with_their_lines(world):
    """A tenant's and one of the platform."""
    tenant = tenant_file("initech", world.key, weight=0)
    change(world, "tenants/initech.yaml", **tenant)
    found = await doctor(world)
    ((level, words),) = of(found, "files", "initech.yaml")
    assert level == "fail"
    assert re.match(r"line \d+: weight: Input should be greater than", words)
    assert ("ok", "takes the signature") in of(found, "upstream")
    change(world, region="NOWHERE")
    found = await doctor(world)
    assert of(found, "files", "accounts.yaml")[0][0] == "fail"
    assert not of(found, "upstream")


async def test_a_pepper_that_nobody_drew_is_told(world):
    """It would pass the check of its length."""
    pepper = type(world.settings.key_pepper)("a" * 40)
    ((level, _),) = of(await doctor(world, key_pepper=pepper), "key pepper")
    assert level == "warn"


async def test_a_decision_log_without_a_folder_is_told(world):
    """The first record would find it out."""
    ((level, words),) = of(await doctor(world, decision_log="/nowhere/log"), "decision log")
    assert (level, words) == ("fail", "/nowhere/log cannot be written")


# Upstream and credentials.


async def test_a_wrong_secret_is_told_by_the_service(world):
    """And what to do, but not the secret."""
    wrong = ENVIRONMENT | {"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "not-the-secret"}
    found = await doctor(world, wrong)
    (failure,) = [each for each in found if each.level == "fail"]
    assert "SignatureDoesNotMatch" in failure.found
    assert failure.advice.startswith("The secret is not that of the key")
    assert "not-the-secret" not in repr(found)


async def test_a_key_that_is_missing_is_told(world):
    """With the variable's name."""
    found = await doctor(world, {})
    assert of(found, "credentials") == [("fail", "ALIBABA_CLOUD_ACCESS_KEY_ID is not set")]


@pytest.mark.parametrize(
    ("kind", "level", "said"),
    [
        (FaultKind.REFUSE, "fail", "Forbidden.RAM"),
        (FaultKind.THROTTLE, "warn", "Throttling.User"),
        (FaultKind.SERVER_ERROR, "warn", "InternalError"),
        (FaultKind.DROP, "warn", "QueryIProductionJob"),
    ],
)
async def test_what_the_service_refuses_is_told(world, kind, level, said):
    """A right that is missing, a limit that is reached, a service in trouble."""
    world.emulator.add_fault(FaultPlan(kind, action="QueryIProductionJob"))
    ((found, words),) = [each for each in of(await doctor(world), "upstream") if each[0] != "ok"]
    assert (found, said in words) == (level, True)


async def test_an_endpoint_where_nobody_is_and_one_that_is_another_are_told(world, tmp_path):
    """By the way of the network, before any key."""
    change(world, endpoint="127.0.0.1:1")
    ((level, words),) = of(await doctor(world), "upstream")
    assert (level, "https://127.0.0.1:1" in words) == ("fail", True)
    (tmp_path / "other.pem").write_bytes(AUTHORITY.pem)
    change(world, endpoint=world.emulator.https_endpoint, ca_file=str(tmp_path / "other.pem"))
    (failure,) = [each for each in await doctor(world) if each.level == "fail"]
    assert "certificate" in failure.found.lower()
    assert "ca_file" in failure.advice


@pytest.mark.parametrize(("seconds", "level"), [(-120, "warn"), (1200, "fail")])
async def test_a_clock_that_differs_from_the_services_is_told(world, seconds, level):
    """Before calls are refused for it, where that is still to come."""
    async with an_upstream(seconds) as endpoint:
        change(world, endpoint=endpoint, scheme="http", ca_file=None)
        found = of(await doctor(world), "upstream")
    assert level in [each for each, words in found if f"clock is {seconds:+.0f} s" in words]


async def test_what_hangs_is_told_and_holds_up_nothing_else(world):
    """Within the time that a check has."""
    async with an_upstream(0, hangs=True) as endpoint:
        change(world, endpoint=endpoint, scheme="http", ca_file=None)
        found = await doctor(world, seconds=1.0)
    assert of(found, "upstream") == [("fail", "no answer in 1 s")]
    assert of(found, "store", "schema")[0][0] == "ok"


@asynccontextmanager
async def an_upstream(seconds, *, hangs=False):
    """Serve answers that are dated so many seconds off, or none."""

    async def handle(_):
        if hangs:
            await asyncio.Event().wait()
        date = datetime.now(UTC) + timedelta(seconds=seconds)
        return web.Response(status=404, headers={"Date": format_datetime(date, usegmt=True)})

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_keys_of_sts_are_told_by_when_they_end(tmp_path):
    """And what keeps them from being issued, with no secret of them."""
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    pod = {
        "ALIBABA_CLOUD_ROLE_ARN": ROLE,
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": PROVIDER,
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(token_file),
    }
    with an_issuer() as issuer:
        rrsa = {"type": "oidc_role_arn", "sts_endpoint": issuer.address}
        async with a_world(
            tmp_path, account={"credentials": rrsa}, access_keys=issuer.keys, environment=pod
        ) as world:
            found = await doctor(world, pod)
            assert of(found, "credentials") == [("ok", "oidc_role_arn: ends in 60 min")]
            assert ("ok", "takes the signature") in of(found, "upstream")
            assert not [key for key in issuer.keys.values() if key.secret in repr(found)]
            issuer.seconds = 60
            ((level, _),) = of(await doctor(world, pod), "credentials")
            assert level == "warn"
            issuer.refusal = Refused(403, "NoPermission")
            (failure,) = [each for each in await doctor(world, pod) if each.level == "fail"]
            assert "NoPermission" in failure.found
            assert "trusts the cluster's OIDC provider" in failure.advice
            assert TOKEN not in repr(failure)


# Certificates.


async def test_certificates_are_looked_over(world, tmp_path):
    """Names, and how long they are good."""
    certificate, key = AUTHORITY.for_this_machine().write(tmp_path, "server")
    (tmp_path / "clients.pem").write_bytes(AUTHORITY.pem)
    found = await doctor(
        world,
        tls_certificate_file=certificate,
        tls_key_file=key,
        tls_client_ca_file=tmp_path / "clients.pem",
    )
    assert [level for level, _ in of(found, "certificate")] == ["ok", "ok", "ok"]
    assert ("ok", "for localhost, 127.0.0.1") in of(found, "certificate")


@pytest.mark.parametrize(
    ("names", "hours", "expected"),
    [
        ([x509.DNSName("localhost")], -1, ("fail", "ended 60 min ago")),
        ([x509.DNSName("localhost")], 3, ("warn", "good for 3 h")),
        ([], 24, ("fail", "it has no names")),
    ],
)
async def test_a_certificate_that_clients_will_not_take_is_told(
    world, tmp_path, names, hours, expected
):
    """Also one that they will soon not take any more."""
    level, said = expected
    pair = AUTHORITY.pair(*names, ends=datetime.now(UTC) + timedelta(hours=hours))
    certificate, key = pair.write(tmp_path, "server")
    found = await doctor(world, tls_certificate_file=certificate, tls_key_file=key)
    assert any(said in words for each, words in of(found, "certificate") if each == level)


async def test_a_key_of_another_certificate_is_told(world, tmp_path):
    """And text that is no certificate."""
    certificate, _ = AUTHORITY.for_this_machine().write(tmp_path, "one")
    _, key = AUTHORITY.for_this_machine().write(tmp_path, "two")
    found = await doctor(world, tls_certificate_file=certificate, tls_key_file=key)
    said = [("fail", "the private key is not that of the certificate")]
    assert of(found, "certificate") == said
    certificate.write_text("no certificate")
    found = await doctor(world, tls_certificate_file=certificate, tls_key_file=key)
    assert of(found, "certificate")[0][0] == "fail"


async def test_plain_text_for_others_is_told(world):
    """Keys and tokens of callers would be read on the way."""
    found = await doctor(world, listen="0.0.0.0:0")
    assert of(found, "certificate")[0][0] == "warn"


# Ports, issuers, telemetry.


async def test_a_port_of_another_program_is_told(world):
    """For gRPC and for metrics."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        found = await doctor(world, listen=taken, admin_listen=taken, metrics_listen=taken)
    assert of(found, "port") == [("fail", f"{taken} is taken by another program")] * 3
    found = await doctor(world, listen="192.0.2.1:50051")
    assert of(found, "port", "IMSGW_LISTEN")[0][0] == "fail"


async def test_issuers_are_asked_for_their_keys(world, tmp_path):
    """Keys that are of use, none, and nobody there."""
    (tmp_path / "jwks.json").write_bytes(jwks(a_key("one")))
    issuer = {"issuer": "https://i.test", "audiences": ["ims"]}
    issuers = [
        issuer | {"name": "good", "jwks_file": str(tmp_path / "jwks.json")},
        issuer
        | {
            "name": "other",
            "issuer": "https://o.test",
            "algorithms": ["ES256"],
            "jwks_file": str(tmp_path / "jwks.json"),
        },
        issuer | {"name": "gone", "issuer": "https://g.test", "jwks_url": "https://127.0.0.1:1/"},
    ]
    change(world, "issuers.yaml", issuers=issuers)
    found = await doctor(world)
    assert of(found, "issuer", "good") == [("ok", "1 keys for RS256")]
    assert of(found, "issuer", "other")[0][0] == "fail"
    assert of(found, "issuer", "gone") == [("fail", "https://127.0.0.1:1/: ConnectError")]


async def test_a_collector_that_is_gone_is_a_warning(world):
    """Calls go on without."""
    variable = "OTEL_EXPORTER_OTLP_ENDPOINT"
    gone = await doctor(world, ENVIRONMENT | {variable: "http://127.0.0.1:1"})
    assert of(gone, "telemetry")[0][0] == "warn"
    with socket.create_server(("127.0.0.1", 0)) as collector:
        address = f"127.0.0.1:{collector.getsockname()[1]}"
        there = await doctor(world, ENVIRONMENT | {variable: f"http://{address}"})
    assert of(there, "telemetry") == [("ok", f"{address} takes connections")]


# The command.


def command(world, **changes) -> subprocess.CompletedProcess[str]:
    """Run imsgw doctor."""
    variables = {
        "IMSGW_CONFIG_DIR": str(world.folder),
        "IMSGW_KEY_PEPPER": PEPPER,
        "IMSGW_DATABASE_URL": world.settings.database_url.get_secret_value(),
        "IMSGW_LISTEN": world.target,
        "IMSGW_METRICS_LISTEN": "",
    }
    return imsgw("doctor", *changes.pop("flags", ()), **variables | ENVIRONMENT | changes)


async def test_the_command_is_for_people_and_programs(world):
    """It exits with 0 where only warnings are left, with 1 where something fails."""
    done = await asyncio.to_thread(command, world)
    assert (done.returncode, done.stderr) == (0, "")
    assert "takes the signature" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("fail: 0")

    wrong = {"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "not-the-secret"}
    failed = await asyncio.to_thread(command, world, flags=("--output", "json"), **wrong)
    document = json.loads(failed.stdout)
    assert (failed.returncode, document["ok"]) == (1, False)
    assert {"check", "subject", "level", "found", "advice"} == set(document["findings"][0])
    for secret in (PEPPER, SECRET, "not-the-secret", world.key):
        assert secret not in done.stdout + failed.stdout + failed.stderr


async def test_settings_that_are_wrong_are_all_told(world):
    """Nothing else can be looked at without them."""
    wrong = {"IMSGW_KEY_PEPPER": "short", "IMSGW_DATABASE_URL": "mysql://u:hush@host/x"}
    done = await asyncio.to_thread(command, world, **wrong)
    assert done.returncode == 1
    assert "IMSGW_KEY_PEPPER" in done.stdout
    assert "IMSGW_DATABASE_URL" in done.stdout
    assert "hush" not in done.stdout + done.stderr
