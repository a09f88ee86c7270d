"""What a gateway's process writes to its log: JSON to the last line, each about its call."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import grpc
import yaml

from ims_gateway.identity.keys import new_key
from imsgateway.v1.job_service_pb2 import SubmitJobRequest, SubmitJobsRequest
from imsgateway.v1.job_service_pb2_grpc import JobServiceStub
from tests.integration.test_process import configuration, serve
from tests.integration.world import cover, tenant_file

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
MARK = "hunter2"
PRICES = {"currency": "CNY", "prices": [{"algorithm": "*", "micros": 10}]}
# Each job brings an alert: a line of the log from the midst of a submit.
BUDGET = {"id": "spend", "kind": "budget", "window": "month", "max_micros": 100}


def records(text: str) -> list[dict[str, str]]:
    """Return the lines of a log or of a decision log."""
    return [json.loads(line) for line in text.splitlines()]


def submits(target: str, key: str) -> None:
    """Submit a job by itself and one in a stream; nobody listens where they are sent to."""
    request = SubmitJobRequest(job=cover(user_data=MARK, display_name=MARK))
    metadata = [
        ("authorization", f"Bearer {key}"),
        ("traceparent", f"00-{TRACE_ID}-00f067aa0ba902b7-01"),
    ]
    with grpc.insecure_channel(target) as channel:
        jobs = JobServiceStub(channel)
        try:
            jobs.SubmitJob(request, metadata=metadata, timeout=30)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - or it went well
        items = iter([SubmitJobsRequest(index=7, request=request)])
        list(jobs.SubmitJobs(items, metadata=metadata, timeout=30))


def test_every_line_of_a_life_is_json_and_a_call_s_lines_name_it(tmp_path: Path):
    """A start, jobs, a stranger on the port, a bad file, an end; and no words of a job."""
    key = new_key()[1]
    environment = configuration(tmp_path, key)
    acme = tenant_file("acme", key, limits=[BUDGET | {"alerts": [10, 20]}])
    (tmp_path / "tenants" / "acme.yaml").write_text(yaml.safe_dump(acme), encoding="utf-8")
    (tmp_path / "prices.yaml").write_text(yaml.safe_dump(PRICES), encoding="utf-8")
    with serve(environment) as (process, target):
        submits(target, key)
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(b"GET /?Signature=hunter2 HTTP/1.1\r\n\r\n")
            stranger.recv(1024)
        (tmp_path / "tenants" / "bad.yaml").write_text("name: [", encoding="utf-8")
        # Told as soon as it is noticed: the test waits for the line itself.
        text = ""
        while "configuration file not taken" not in text:
            text += process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        text += process.communicate(timeout=60)[1]

    lines = records(text)
    assert {"level", "logger", "timestamp"} <= set.intersection(*map(set, lines))
    assert [line["event"] for line in lines][-2:] == ["draining", "stopped"]
    alerts = [line for line in lines if line["event"] == "budget alert"]
    decided = [
        record
        for record in records((tmp_path / "decisions.jsonl").read_text("utf-8"))
        if record["job"]
    ]
    assert len(alerts) == 2
    assert {line["trace_id"] for line in alerts} == {TRACE_ID}
    for name, other in (("decision_id", "decision_id"), ("job", "job"), ("tenant", "tenant")):
        assert {line[name] for line in alerts} == {record[other] for record in decided}, name
    assert len({line["span_id"] for line in alerts}) == 2
    for secret in (key, environment["IMSGW_KEY_PEPPER"], "SECRET", MARK):
        assert secret not in text
