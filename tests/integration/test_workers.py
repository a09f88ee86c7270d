"""Several workers behind one port: real processes, killed, stopped and watched."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import urllib.request
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import grpc
import psutil
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from ims_gateway.identity.keys import new_key
from ims_gateway.jobs.migrate import upgrade
from ims_gateway.ports import reserve
from ims_gateway.settings import Settings
from ims_gateway.stopping import Stopping
from ims_gateway.workers.supervisor import Supervisor
from ims_gateway_client import Client
from imsgateway.v1 import access_service_pb2 as access
from imsgateway.v1 import access_service_pb2_grpc
from tests.integration.processes import configuration, gone, imsgw, served
from tests.integration.world import until
from tests.ports import free_port

KEY = new_key()[1]
CONNECTIONS = 16
WORKERS = 2


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Return what a gateway with workers is started with."""
    return configuration(
        tmp_path_factory.mktemp("workers"),
        KEY,
        workers=WORKERS,
        admin_listen="127.0.0.1:0",
        metrics_listen=f"127.0.0.1:{free_port()}",
    )


@pytest.fixture(scope="module")
def running(environment):
    """Run a gateway with workers."""
    with served(environment) as gateway:
        yield gateway


def connections(pid: int, target: str) -> set[int]:
    """Return the clients' ports of the connections that a process has."""
    port = int(target.rpartition(":")[2])
    return {
        found.raddr.port
        for found in psutil.Process(pid).net_connections("tcp")
        if found.status == psutil.CONN_ESTABLISHED and found.laddr.port == port
    }


async def test_others_are_unharmed_by_the_death_of_a_worker(running):
    """Calls on their connections go on; a successor is there at once."""
    running.event("successor ready")
    failed = [0] * CONNECTIONS
    codes = set()
    calls = [0] * CONNECTIONS
    enough = asyncio.Event()

    async def call(number: int, stack: AsyncExitStack) -> None:
        # A connection of its own, and no call made twice.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        channel = grpc.aio.insecure_channel(running.target, options)
        stub = access_service_pb2_grpc.AccessServiceStub(await stack.enter_async_context(channel))
        while not enough.is_set():
            try:
                metadata = (("authorization", f"Bearer {KEY}"),)
                await stub.WhoAmI(access.WhoAmIRequest(), metadata=metadata)
                calls[number] += 1
            except grpc.aio.AioRpcError as error:
                failed[number] += 1
                codes.add(error.code())

    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for number in range(CONNECTIONS):
            group.create_task(call(number, stack))
        await until(lambda: min(calls) > 0)
        victim, other = running.worker(0), running.worker(1)
        of_victim, of_other = (connections(pid, running.target) for pid in (victim, other))
        assert len(of_victim | of_other) == CONNECTIONS
        assert of_victim
        assert of_other
        seen, killed = len(running.events), time.monotonic()
        os.kill(victim, signal.SIGKILL)
        await asyncio.to_thread(running.event, "worker serves", after=seen, worker=0)
        sys.stdout.write(f"a successor served after {time.monotonic() - killed:.2f} s\n")
        reached = list(calls)
        await until(lambda: all(now > then for now, then in zip(calls, reached, strict=True)))
        assert connections(other, running.target) >= of_other
        enough.set()
    assert sum(1 for count in failed if count) <= len(of_victim)
    assert codes <= {grpc.StatusCode.UNAVAILABLE}


@pytest.mark.usefixtures("running")
def test_metrics_of_all_workers_are_on_one_port(environment):
    """Told apart by a label, with how often each has had a successor."""
    families = scraped(environment)
    tags = {sample.labels["worker"] for family in families.values() for sample in family.samples}
    assert tags == {"0", "1"}
    restarts = {
        sample.labels["worker"]: sample.value
        for sample in families["imsgateway_worker_restarts"].samples
    }
    assert restarts.keys() == {"0", "1"}
    assert restarts["1"] == 0
    assert len(families["imsgateway_configuration_faults"].samples) == WORKERS


def scraped(environment):
    """Return the metrics of the port, by their names."""
    request = urllib.request.Request(
        f"http://{environment['IMSGW_METRICS_LISTEN']}/metrics",
        headers={"Accept": "application/openmetrics-text"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own port
        text = answer.read().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


@pytest.mark.parametrize("workers", [1, 2])
def test_no_other_gateway_comes_to_the_port(running, environment, workers):
    """It says which setting is at fault, and the one that serves goes on."""
    done = imsgw(
        "serve",
        **environment
        | {
            "IMSGW_LISTEN": running.target,
            "IMSGW_METRICS_LISTEN": "",
            "IMSGW_ADMIN_LISTEN": "",
            "IMSGW_WORKERS": str(workers),
        },
    )
    assert done.returncode == 69
    assert done.stderr.splitlines()[-1] == (
        f"IMSGW_LISTEN: {running.target} is in use, or is no address of this machine"
    )
    with Client(running.target, api_key=KEY) as client:
        assert client.who_am_i().tenant == "tenants/acme"


def test_workers_end_with_the_process_that_watches_over_them(tmp_path):
    """Killed as it is, it cannot tell them; the port is free afterwards."""
    with served(configuration(tmp_path, KEY, workers=WORKERS)) as running:
        workers = [running.worker(number) for number in range(WORKERS)]
        target = running.target
        running.process.kill()
        running.process.wait()
        deadline = time.monotonic() + 60
        while not all(map(gone, workers)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    asyncio.run(free_again(target))


async def free_again(target: str) -> None:
    """Return when somebody else can have the port."""
    (await reserve("IMSGW_LISTEN", target)).close()


def test_a_gateway_that_cannot_start_says_why_once_and_ends(tmp_path):
    """Workers do not try again what none of them ever could."""
    environment = configuration(tmp_path, KEY, workers=WORKERS)
    del environment["ALIBABA_CLOUD_ACCESS_KEY_ID"]
    done = imsgw("serve", **environment)
    assert done.returncode == 78
    assert "accounts.yaml: main: ALIBABA_CLOUD_ACCESS_KEY_ID is not set" in done.stderr
    assert "Traceback" not in done.stderr


@asynccontextmanager
async def supervised(folder: Path, monkeypatch, silence_seconds: float):
    """Watch over workers from here, and let them end."""
    for name, value in configuration(folder, KEY, workers=WORKERS).items():
        monkeypatch.setenv(name, value)
    settings, stopping = Settings(), Stopping()
    upgrade(settings.database_url.get_secret_value())
    reserved = await reserve("IMSGW_LISTEN", settings.listen)
    order = {"listen": reserved.address, "admin_listen": ""}
    supervisor = Supervisor(settings, order, stopping, silence_seconds=silence_seconds)
    with closing(reserved), capture_logs() as lines:
        task = asyncio.create_task(supervisor.run())
        yield supervisor, lines
        stopping.say()
        assert await task == 0


async def test_a_worker_that_stands_still_is_replaced(tmp_path, monkeypatch):
    """It has connections that nobody answers. Once more, and its successor has to wait."""
    async with supervised(tmp_path, monkeypatch, silence_seconds=4) as (supervisor, lines):

        def serves(number: int) -> list[int]:
            events = [line for line in lines if line["event"] == "worker serves"]
            return [line["pid"] for line in events if line["worker"] == number]

        await until(lambda: serves(0) and serves(1))
        os.kill(serves(1)[0], signal.SIGSTOP)
        await until(lambda: len(serves(1)) > 1)
        assert gone(serves(1)[0])
        os.kill(serves(1)[1], signal.SIGKILL)
        await until(lambda: len(serves(1)) > 2)
        pauses = [line["next_in_seconds"] for line in lines if line["event"] == "worker ended"]
        assert pauses == [0.0, 1.0]
        assert supervisor.restarts == {0: 0, 1: 2}
        assert len(serves(0)) == 1
