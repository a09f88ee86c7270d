"""imsgw as a process: start, serve, drain, and the words it has for a bad configuration."""

from __future__ import annotations

import json
import os
import signal
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
