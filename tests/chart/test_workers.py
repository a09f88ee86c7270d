"""A pod with several workers: started from what is rendered, ended as the kubelet ends it."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import time
import urllib.request
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import psutil
import psycopg
from grpc_health.v1 import health_pb2

from ims_gateway.emulator.faults import FaultKind, FaultPlan
from ims_gateway.emulator.server import Emulator
from ims_gateway.emulator.settings import AccessKey, EmulatorSettings
from ims_gateway.identity.keys import new_key
from imsgateway.v1 import job_service_pb2, job_service_pb2_grpc
from tests.chart.kubelet import Kubelet
from tests.chart.rendering import one
from tests.chart.test_running import COVER, probed, release, run, said, started, target, until

WORKERS = 2
# Of as many connections, that all lead to one of two workers happens once in half a million times.
CALLS = 20
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


@dataclass
class Pod:
    """A pod that runs: what was rendered of it, and the processes that it is."""

    rendered: dict[str, Any]
    target: str
    process: subprocess.Popen[str]
    workers: dict[int, int]

    @property
    def container(self) -> dict[str, Any]:
        """Its one container."""
        (container,) = self.rendered["spec"]["containers"]
        return dict(container)

    @property
    def port(self) -> int:
        """Where its callers come to."""
        return int(self.target.rpartition(":")[2])


async def test_a_pod_with_workers_serves_is_probed_and_ends_in_its_grace(tmp_path, postgresql):
    """Calls in flight at SIGTERM are answered and settled; nothing has to be killed."""
    key, url = new_key()[1], postgresql.new_database(migrated=False)
    access_keys = {"AKID": AccessKey("the-account-secret")}
    async with Emulator(EmulatorSettings(access_keys=access_keys, http_port=0)) as emulator:
        kubelet = release(tmp_path, emulator, url, key, settings={"workers": WORKERS})
        migrated = await asyncio.to_thread(_migrate, kubelet)
        assert migrated.returncode == 0, migrated.stderr
        rendered = one(kubelet.objects, "Deployment")["spec"]["template"]
        kubelet.publish(rendered)
        with started(kubelet, rendered["spec"]["containers"][0]) as process:
            workers = await asyncio.to_thread(_serving, process)
            pod = Pod(rendered, target(kubelet), process, workers)
            await asyncio.to_thread(_check_probes, pod, dict.fromkeys(PROBES, SERVING))
            await asyncio.to_thread(_check_metrics, pod)
            names = await _end_with_calls_in_flight(pod, emulator, key)

        assert {job.job_id for job in emulator.jobs} == _settled(url, names)
        assert len(names) == CALLS


def _migrate(kubelet: Kubelet) -> subprocess.CompletedProcess[str]:
    return run(kubelet, one(kubelet.objects, "Job")["spec"]["template"], "imsgw")


def _serving(process: subprocess.Popen[str]) -> dict[int, int]:
    """Return the workers' processes, by their numbers, when all of them serve."""
    told = [said(process, "worker serves") for _ in range(WORKERS)]
    return {line["worker"]: line["pid"] for line in told}


def _check_probes(pod: Pod, wanted: dict[str, int]) -> None:
    """Each probe has the same answer of all workers, whichever it gets to."""
    for probe, status in wanted.items():
        assert _answers(pod, probe) == {status}, probe


def _answers(pod: Pod, probe: str) -> set[int]:
    return {probed(pod.container, probe) for _ in range(CALLS)}


def _check_metrics(pod: Pod) -> None:
    """Prometheus finds all workers at the port that the pod names."""
    ports = {each["name"]: each["containerPort"] for each in pod.container["ports"]}
    with urllib.request.urlopen(
        f"http://127.0.0.1:{ports['metrics']}/metrics", timeout=30
    ) as answer:
        text = answer.read().decode()
    assert set(re.findall(r'worker="(\d+)"', text)) == {str(each) for each in range(WORKERS)}


async def _end_with_calls_in_flight(pod: Pod, emulator: Emulator, key: str) -> set[str]:
    """Send SIGTERM while each worker has calls; return the names of the jobs that callers got."""
    emulator.add_fault(FaultPlan(FaultKind.HANG, times=CALLS))
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(_channel(pod)) for _ in range(CALLS)]
        calls = [asyncio.create_task(_submit(channel, key)) for channel in channels]
        await emulator.wait_until_hanging(CALLS)
        assert all(_has_calls(worker, pod.port) for worker in pod.workers.values())

        pod.process.terminate()
        # Any later, and the kubelet would kill it.
        ends_by = time.monotonic() + pod.rendered["spec"]["terminationGracePeriodSeconds"]
        # No more calls are sent here, but nothing is restarted that is about to end.
        await asyncio.to_thread(until, lambda: _answers(pod, "readinessProbe") == {NOT_SERVING})
        during = {"readinessProbe": NOT_SERVING, "livenessProbe": SERVING}
        await asyncio.to_thread(_check_probes, pod, during)
        await asyncio.to_thread(until, lambda: _refuses(pod.port))
        await asyncio.to_thread(_check_probes, pod, during)
        assert not any(call.done() for call in calls)

        emulator.release()
        names = set(await asyncio.gather(*calls))
        assert await asyncio.to_thread(pod.process.wait, ends_by - time.monotonic()) == 0
    assert not [worker for worker in pod.workers.values() if psutil.pid_exists(worker)]
    return names


def _channel(pod: Pod) -> grpc.aio.Channel:
    # A connection of its own, and no call made twice.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    return grpc.aio.insecure_channel(pod.target, options)


async def _submit(channel: grpc.aio.Channel, key: str) -> str:
    stub = job_service_pb2_grpc.JobServiceStub(channel)
    metadata = (("authorization", f"Bearer {key}"),)
    answer = await stub.SubmitJob(job_service_pb2.SubmitJobRequest(job=COVER), metadata=metadata)
    return str(answer.job.name)


def _has_calls(worker: int, port: int) -> bool:
    return any(
        found.status == psutil.CONN_ESTABLISHED and found.laddr.port == port
        for found in psutil.Process(worker).net_connections("tcp")
    )


def _refuses(port: int) -> bool:
    """Say whether the pod takes no more connections."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def _settled(url: str, names: set[str]) -> set[str]:
    """Return the upstream's ids of all jobs; each was answered, and none is held by a process."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT job_id, upstream_job_id, lease_until FROM jobs")
        found = rows.fetchall()
    assert {row[0] for row in found} == {name.rpartition("/")[2] for name in names}
    return {row[1] for row in found}
