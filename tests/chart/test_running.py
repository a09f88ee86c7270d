"""What the chart renders is started: the gateway, its migration, its test, its emulator."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ims_gateway.emulator.server import Emulator
from ims_gateway.emulator.settings import AccessKey, EmulatorSettings
from ims_gateway.identity.keys import key_hash, new_key
from ims_gateway.policy.suites import Examiner
from ims_gateway.tenancy.loading import load
from ims_gateway_client import Client, GatewayError, Job, NotAuthenticated
from ims_gateway_client.channel import TlsOptions
from tests.chart.kubelet import Kubelet, swap
from tests.chart.rendering import CHART, Objects, Values, merged, minimal, objects_of, one
from tests.chart.value_sets import objects
from tests.issuers import Authority
from tests.ports import free_port

BIN = Path(sys.executable).parent
PEPPER = "a pepper that is long enough for it"
SERVING = health_pb2.HealthCheckResponse.SERVING
COVER = Job(cover={"input": {"oss_uri": "oss://acme-media/in.mp4"}})


def ports() -> Values:
    """Return values for a pod that shares this machine with others."""
    serving, admin, metrics = (free_port() for _ in range(3))
    return {
        "ports": {"grpc": serving, "admin": admin, "metrics": metrics},
        "service": {"port": serving},
    }


def secret(name: str, **data: str) -> dict[str, Any]:
    """Return a Secret as somebody made it before the install."""
    return {"kind": "Secret", "metadata": {"name": name}, "stringData": data}


def run(
    kubelet: Kubelet, pod: dict[str, Any], entry_point: str
) -> subprocess.CompletedProcess[str]:
    """Run the one container of a pod to its end."""
    kubelet.publish(pod)
    (container,) = pod["spec"]["containers"]
    return subprocess.run(
        kubelet.command(container, [str(BIN / entry_point)]),
        env={"PATH": f"{BIN}:{os.environ['PATH']}", **kubelet.environment(container)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def started(kubelet: Kubelet, container: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Run a container of the image; yields its process once it has said a line."""
    process = subprocess.Popen(
        kubelet.command(container, [str(BIN / "imsgw")]),
        env={"PATH": os.environ["PATH"], **kubelet.environment(container)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=kubelet.root,
    )
    try:
        assert process.stdout is not None
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """Return the next line of the log that is about an event."""
    seen = []
    for line in process.stdout or ():
        seen.append(line)
        if f'"event": "{event}"' in line:
            return dict(json.loads(line))
    raise AssertionError("".join(seen))


@contextmanager
def gateway(kubelet: Kubelet) -> Iterator[subprocess.Popen[str]]:
    """Run the gateway's container as its Deployment has it."""
    template = one(kubelet.objects, "Deployment")["spec"]["template"]
    kubelet.publish(template)
    container = template["spec"]["containers"][0]
    with started(kubelet, container) as process:
        said(process, "serving")
        yield process


def probed(container: dict[str, Any], probe: str) -> int:
    """Ask what the kubelet asks: plain gRPC, at the probe's port, for the probe's service.

    Over a connection of its own, and for no longer than the probe waits.
    """
    asked = container[probe]["grpc"]
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{asked['port']}", options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(
            health_pb2.HealthCheckRequest(service=asked["service"]),
            timeout=container[probe]["timeoutSeconds"],
        )
        return int(answer.status)


def check_probes(objects: Objects) -> None:
    """Every probe that is rendered is answered: the pod would be started, alive and ready."""
    container = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert probed(container, probe) == SERVING, probe


def tenant(key: str, **changes: Any) -> Values:
    """Return a tenant as the values have it."""
    entry = {"id": key.split("_")[1], "hash": key_hash(key, PEPPER.encode())}
    return {
        "account": "main",
        "default_output": "oss://acme-media/out",
        "principals": [{"name": "robot", "roles": ["editor"], "keys": [entry]}],
        "grants": [
            {
                "subject": "role/editor",
                "actions": ["submit", "get", "list"],
                "read": ["oss://acme-media/*"],
                "write": ["oss://acme-media/*"],
            }
        ],
    } | changes


@pytest.fixture
async def emulator() -> Any:
    """Run an emulator with the key that the Secrets have."""
    settings = EmulatorSettings(access_keys={"AKID": AccessKey("the-account-secret")}, http_port=0)
    async with Emulator(settings) as running:
        yield running


def release(folder: Path, emulator: Emulator, database_url: str, key: str, **more: Any) -> Kubelet:
    """Return a release with the least values, its Secret made, and where its pods are put."""
    account = {
        "name": "main",
        "region": "cn-shanghai",
        "scheme": "http",
        "endpoint": emulator.http_endpoint.removeprefix("http://"),
    }
    changes = {
        "accounts": [account],
        "test": {"apiKeySecretName": "ims-gateway", "input": "oss://acme-media/in.mp4"},
        "settings": {"decision_log": ""},
    }
    values = merged(minimal(**changes), ports())
    values = merged(values, more) | {"tenants": {"acme": tenant(key)}}
    made = secret(
        "ims-gateway",
        **{
            "database-url": database_url,
            "key-pepper": PEPPER,
            "access-key-id": "AKID",
            "access-key-secret": "the-account-secret",
            "api-key": key,
        },
    )
    return Kubelet(folder, [*objects_of(values), made])


def target(kubelet: Kubelet) -> str:
    """Return where the gateway of a release is called."""
    service = one(kubelet.objects, "Service", "gateway")
    return f"127.0.0.1:{service['spec']['ports'][0]['port']}"


async def test_least_values_give_a_gateway_that_works(tmp_path, emulator, postgresql):
    """Migration, start, probes, `helm test`, a paid job, all from what is rendered."""
    key = new_key()[1]
    url = postgresql.new_database(migrated=False)
    kubelet = release(tmp_path, emulator, url, key)
    job = one(kubelet.objects, "Job")
    # What Helm would find at this moment: nothing of the release but its hooks.
    before = [e for e in kubelet.objects if e["kind"] == "Secret"]
    migrated = await in_thread(lambda: run(Kubelet(tmp_path, before), pod_of(job), "imsgw"))
    assert migrated.returncode == 0, migrated.stderr
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
    await in_thread(lambda: _use(kubelet, key))
    assert emulator.counts.of("SubmitIProductionJob").accepted == 1


def _use(kubelet: Kubelet, key: str) -> None:
    with gateway(kubelet) as process:
        check_probes(kubelet.objects)
        tested = run(kubelet, one(kubelet.objects, "Pod", "-test"), "imsctl")
        assert tested.returncode == 0, tested.stdout + tested.stderr
        with Client(target(kubelet), api_key=key) as client:
            submitted = client.submit(COVER)
            assert submitted.state == Job.STATE_QUEUED
        with (
            Client(target(kubelet), api_key=new_key()[1]) as stranger,
            pytest.raises(NotAuthenticated),
        ):
            stranger.submit(COVER)
        process.terminate()
        assert process.wait(60) == 0


async def test_changed_config_maps_are_taken_while_serving(tmp_path, emulator):
    """A tenant comes in a ConfigMap of one's own, a deny of the platform begins to hold.

    The process stays.
    """
    key, other = new_key()[1], new_key()[1]
    database = f"sqlite:///{tmp_path / 'ledger.db'}"
    own = {"configMaps": {"tenants": ["own-tenants-0", "own-tenants-1"]}}
    kubelet = release(tmp_path, emulator, database, key, migration={"enabled": False}, **own)
    kubelet.objects += [
        {"kind": "ConfigMap", "metadata": {"name": name}, "data": {}}
        for name in own["configMaps"]["tenants"]
    ]
    await in_thread(lambda: _change(kubelet, key, other))


def _change(kubelet: Kubelet, key: str, other: str) -> None:
    template = one(kubelet.objects, "Deployment")["spec"]["template"]
    with gateway(kubelet) as process, Client(target(kubelet), api_key=key) as client:
        client.explain(COVER)
        put(kubelet, "own-tenants-1", "globex", tenant(other, name="globex"))
        put(kubelet, "-tenants", "acme", "no: tenant")
        kubelet.publish(template)
        with Client(target(kubelet), api_key=other) as newcomer:
            until(lambda: newcomer.who_am_i().tenant == "tenants/globex")
        # A bad file replaces no good one.
        assert client.who_am_i().tenant == "tenants/acme"
        assert allowed(client)
        deny = {"subject": "role/editor", "actions": ["submit"], "read": ["*"], "effect": "deny"}
        put(kubelet, "-platform", "grants", {"grants": [deny]})
        kubelet.publish(template)
        until(lambda: not allowed(client))
        assert process.poll() is None


def put(kubelet: Kubelet, config_map: str, file: str, content: Any) -> None:
    """Change a file of a ConfigMap, as an upgrade of the release does."""
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    one(kubelet.objects, "ConfigMap", config_map)["data"][f"{file}.yaml"] = text


def allowed(client: Client) -> bool:
    """Say whether the policy lets the job through."""
    return bool(client.explain(COVER).allowed)


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; a caller that is not known yet counts as not yet."""
    deadline = time.monotonic() + 60
    while True:
        with suppress(NotAuthenticated):
            if holds():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_values_for_development_need_nothing_else(tmp_path):
    """Emulator and gateway of one pod, SQLite on its volume, the key that the values show."""
    port = str(free_port())
    text = (CHART / "values-dev.yaml").read_text(encoding="utf-8").replace("8089", port)
    kubelet = Kubelet(tmp_path, objects_of(merged(yaml.safe_load(text), ports())))
    template = one(kubelet.objects, "Deployment")["spec"]["template"]
    kubelet.publish(template)
    (emulator,) = template["spec"]["initContainers"]
    with started(kubelet, emulator) as beside:
        assert json.loads(beside.stdout.readline())["http"].endswith(f":{port}")
        with gateway(kubelet):
            check_probes(kubelet.objects)
            tested = run(kubelet, one(kubelet.objects, "Pod", "-test"), "imsctl")
            assert tested.returncode == 0, tested.stdout + tested.stderr
            (shown,) = set(re.findall(r"imsk_kdev0001_\S+", text))
            with Client(target(kubelet), api_key=shown) as client:
                job = client.wait(client.submit(COVER).name, timeout_seconds=60)
                assert job.state == Job.STATE_SUCCEEDED
            (operator,) = set(re.findall(r"imsk_kdev0002_\S+", text))
            listed = subprocess.run(
                [BIN / "imsgw", "tenants", "list"],
                env={
                    "PATH": os.environ["PATH"],
                    "IMSGW_TARGET": target(kubelet),
                    "IMSGW_OPERATOR_KEY": operator,
                },
                capture_output=True,
                text=True,
                check=False,
            )
            assert "acme" in listed.stdout, listed.stderr
    assert (tmp_path / "volumes" / "data" / "ledger.db").exists()


async def test_certificates_are_asked_for_and_shown(tmp_path, emulator):
    """TLS on both sides, from Secrets: who has no certificate is turned away."""
    key = new_key()[1]
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    kubelet = release(
        tmp_path,
        emulator,
        f"sqlite:///{tmp_path / 'ledger.db'}",
        key,
        tls={"secretName": "server", "clientCa": {"secretName": "clients"}},
        test={"certificateSecretName": "client"},
        migration={"enabled": False},
    )
    for name in ("server", "clients", "client"):
        pair = authority.for_this_machine()
        files = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.pem}
        texts = {file: content.decode() for file, content in files.items()}
        kubelet.objects.append(secret(name, **texts))
    await in_thread(lambda: _use_tls(kubelet, key, TlsOptions(tmp_path / "ca.pem")))


def _use_tls(kubelet: Kubelet, key: str, bare: TlsOptions) -> None:
    with gateway(kubelet):
        tested = run(kubelet, one(kubelet.objects, "Pod", "-test"), "imsctl")
        assert tested.returncode == 0, tested.stdout + tested.stderr
        with (
            Client(target(kubelet), api_key=key, tls=bare) as stranger,
            pytest.raises(GatewayError),
        ):
            stranger.who_am_i()


def test_all_kinds_of_files_are_taken(tmp_path):
    """Every file that values can hold, as the gateway reads it; a policy's test passes."""
    own = [
        {"kind": "ConfigMap", "metadata": {"name": name}, "data": {}}
        for name in ("ims-tenants-0", "ims-tenants-1", "ims-policy-tests")
    ]
    names = ("account-main", "account-spare", "clients-ca", "ledger-ca", "ims-ims-gateway-tls")
    kubelet = Kubelet(tmp_path, [*objects("full"), *own, *(secret(name) for name in names)])
    kubelet.publish(one(kubelet.objects, "Deployment")["spec"]["template"])
    loaded = load(tmp_path / "etc" / "ims-gateway", Examiner().read)
    assert loaded.faults == {}
    assert set(loaded.directory) == {"acme", "globex"}
    assert set(loaded.checks.tenants) == {"acme"}


def test_helper_moves_links_as_the_kubelet_does(tmp_path):
    """A volume is changed by one link; readers see all old files or all new ones."""
    swap(tmp_path, {"a.yaml": b"1", "b.yaml": b"1"})
    before = (tmp_path / "..data").readlink()
    swap(tmp_path, {"a.yaml": b"1", "b.yaml": b"1"})
    assert (tmp_path / "..data").readlink() == before
    swap(tmp_path, {"b.yaml": b"2", "c.yaml": b"2"})
    assert (tmp_path / "..data").readlink() != before
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["b.yaml", "c.yaml"]
    assert (tmp_path / "b.yaml").read_bytes() == b"2"


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    """Return the pod that a Job makes."""
    return dict(job["spec"]["template"])


async def in_thread(work: Callable[[], Any]) -> Any:
    """Let the emulator answer meanwhile."""
    return await asyncio.to_thread(work)
