"""imsgw as a process: start, serve, drain, and the words it has for a bad configuration."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from ims_gateway.identity.keys import new_key
from ims_gateway_client import Client
from imsgateway.v1.job_pb2 import Job
from imsgateway.v1.job_service_pb2 import SubmitJobRequest
from tests.integration.processes import BIN, configuration, imsgw
from tests.integration.world import PEPPER, tenant_file


@contextmanager
def serve(environment: dict[str, str]):
    """Run imsgw serve; yields the process and its target."""
    process = subprocess.Popen(
        [BIN / "imsgw", "serve"],
        env={"PATH": os.environ["PATH"], **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = json.loads(process.stderr.readline())
        assert line["event"] == "serving"
        yield process, f"127.0.0.1:{line['port']}"
    finally:
        process.kill()
        process.communicate()


def test_server_is_healthy_reflects_its_contract_and_drains_at_sigterm(tmp_path):
    """The standard services answer without a key; SIGTERM ends the process well."""
    key = new_key()[1]
    with serve(configuration(tmp_path, key)) as (process, target):
        with grpc.insecure_channel(target) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for service in ("", "imsgateway.v1.JobService"):
                answer = health.Check(health_pb2.HealthCheckRequest(service=service))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
            services = ProtoReflectionDescriptorDatabase(channel).get_services()
            assert "imsgateway.v1.AdminService" in services
        with Client(target, api_key=key) as client:
            assert client.who_am_i().tenant == "tenants/acme"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    events = [json.loads(line)["event"] for line in errors.splitlines()]
    assert events == ["draining", "stopped"]
    assert process.returncode == 0


def test_ledger_survives_a_killed_process(tmp_path):
    """What was recorded is there after kill -9 and a new start."""
    key = new_key()[1]
    environment = configuration(tmp_path, key)
    request = SubmitJobRequest(job={"cover": {"input": {"oss_uri": "oss://acme-media/a.mp4"}}})
    with serve(environment) as (process, target), Client(target, api_key=key) as client:
        with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
            client.jobs.SubmitJob(request)
        before = list(client.list())
        process.kill()
        process.wait()
    with serve(environment) as (_, target), Client(target, api_key=key) as client:
        assert list(client.list()) == before
        assert [job.state for job in before] == [Job.STATE_REJECTED]


def test_every_fault_of_the_settings_is_listed_at_once():
    """A start without settings names each that is missing, and no secret."""
    done = imsgw("serve", IMSGW_KEY_PEPPER="too short", IMSGW_MAX_MESSAGE_BYTES="1")
    assert done.returncode == 78
    lines = dict(line.split(": ", 1) for line in done.stderr.strip().splitlines())
    assert set(lines) == {"IMSGW_CONFIG_DIR", "IMSGW_KEY_PEPPER", "IMSGW_MAX_MESSAGE_BYTES"}
    assert "too short" not in done.stderr


BAD = {"IMSGW_KEY_PEPPER": "short", "IMSGW_DATABASE_URL": "mysql://ledger"}


@pytest.mark.parametrize("wrong", [BAD, {}, {"IMSGW_WORKERS": "2"}])
def test_faults_of_settings_files_and_certificate_are_listed_together(tmp_path, wrong):
    """Whoever mends one is not told of the next one only then; nothing was begun."""
    environment = configuration(tmp_path, new_key()[1])
    (tmp_path / "accounts.yaml").write_text("accounts:\n  - name: main\n    regoin: x\n")
    (tmp_path / "tenants" / "beta.yaml").write_text("name: beta\naccount: main\ngrants: []\n")
    (tmp_path / "server.pem").write_text("no certificate")
    tls = {
        "IMSGW_TLS_CERTIFICATE_FILE": str(tmp_path / "server.pem"),
        "IMSGW_TLS_KEY_FILE": str(tmp_path / "server.key"),
    }
    of_files = {"accounts.yaml:3", "beta.yaml:3", "beta.yaml:1", "server.key"}
    done = imsgw("serve", **environment | tls | wrong)
    assert done.returncode == 78
    lines = done.stderr.splitlines()
    assert {line.split(": ")[0] for line in lines} >= of_files | (wrong.keys() & BAD.keys())
    assert len(set(lines)) == len(lines)
    assert not (tmp_path / "ledger.db").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_account_without_a_key_keeps_the_gateway_from_starting(tmp_path, workers):
    """It says which variable is not set, once."""
    environment = configuration(tmp_path, new_key()[1]) | {"IMSGW_WORKERS": workers}
    del environment["ALIBABA_CLOUD_ACCESS_KEY_SECRET"]
    done = imsgw("serve", **environment)
    assert done.returncode == 78
    fault = "accounts.yaml: main: ALIBABA_CLOUD_ACCESS_KEY_SECRET is not set"
    assert done.stderr.splitlines() == [fault]


@pytest.mark.parametrize("setting", ["LISTEN", "METRICS_LISTEN"])
def test_an_occupied_port_is_named(tmp_path, setting):
    """With the setting to change."""
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        address = f"127.0.0.1:{occupied.getsockname()[1]}"
        environment = configuration(tmp_path, new_key()[1])
        done = imsgw("serve", **environment | {f"IMSGW_{setting}": address})
    assert done.returncode == 69
    message = f"IMSGW_{setting}: {address} is in use, or is no address of this machine"
    assert done.stderr.splitlines()[-1] == message


def test_every_fault_of_the_files_is_listed_with_its_line(tmp_path):
    """A start with bad files names file, line and field of each fault."""
    environment = configuration(tmp_path, new_key()[1])
    (tmp_path / "accounts.yaml").write_text("accounts:\n  - name: main\n    regoin: x\n")
    (tmp_path / "tenants" / "beta.yaml").write_text("name: beta\naccount: main\ngrants: []\n")
    done = imsgw("serve", **environment)
    assert done.returncode == 78
    assert "accounts.yaml:3: accounts[0].regoin:" in done.stderr
    assert "beta.yaml:3: grants:" in done.stderr
    assert "beta.yaml:1: principals:" in done.stderr


def test_new_key_is_printed_with_what_the_tenants_file_needs():
    """The hash that keys create prints is the one that the gateway accepts."""
    done = imsgw("keys", "create", "--output", "json", IMSGW_KEY_PEPPER=PEPPER)
    made = json.loads(done.stdout)
    entry = tenant_file("acme", made["key"])["principals"][0]["keys"][0]
    assert {"id": made["id"], "hash": made["hash"]} == entry


def test_demo_passes():
    """All fifteen algorithms succeed, and each refusal is as it should be."""
    done = imsgw("demo", "--cases", "tests/cases", COLUMNS="120")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "15 of 15 algorithms Succeeded" in done.stdout
    assert "NO" not in done.stdout.split()
