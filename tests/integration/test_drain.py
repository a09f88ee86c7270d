"""SIGTERM with calls in flight: real processes, and what is paid for is settled whatever comes."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from ims_gateway.emulator.faults import FaultKind, FaultPlan
from ims_gateway.identity.keys import new_key
from ims_gateway_client import AsyncClient
from ims_gateway_client import errors as client_errors
from imsgateway.v1 import job_pb2
from tests.integration.processes import configuration, served
from tests.integration.world import cover, rows_of
from tests.reliability.scenery import an_emulator

CALLS = 12
KEY = new_key()[1]


@asynccontextmanager
async def in_flight(folder: Path, **settings):
    """Run a gateway with submits that the service leaves without an answer, on many connections."""
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(an_emulator())
        environment = configuration(folder, KEY, emulator, **settings)
        process = served(environment)
        running = await asyncio.to_thread(process.__enter__)
        stack.push_async_callback(asyncio.to_thread, process.__exit__, None, None, None)
        clients = [
            await stack.enter_async_context(AsyncClient(f"ipv4:{running.target}", api_key=KEY))
            for _ in range(4)
        ]
        emulator.add_fault(FaultPlan(FaultKind.HANG, times=CALLS))
        tasks = [
            asyncio.create_task(clients[number % len(clients)].submit(cover()))
            for number in range(CALLS)
        ]
        stack.push_async_callback(asyncio.gather, *tasks, return_exceptions=True)
        await emulator.wait_until_hanging(CALLS)
        yield running, emulator, tasks, environment


def states(environment: dict[str, str]) -> dict[str, int]:
    """Return how many jobs the ledger has in each state."""
    query = "SELECT state, COUNT(*) FROM jobs GROUP BY state"
    return dict(rows_of(environment["IMSGW_DATABASE_URL"], query))


@pytest.mark.parametrize("workers", [1, 2])
async def test_calls_in_flight_at_sigterm_are_answered_and_settled(tmp_path, workers):
    """Each caller gets its job, and the process ends well."""
    async with in_flight(tmp_path, workers=workers) as (running, emulator, tasks, environment):
        running.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(running.event, "draining")
        emulator.release()
        names = {job.name for job in await asyncio.gather(*tasks)}
        code = await asyncio.to_thread(running.process.wait, 60)
        assert (len(names), code) == (CALLS, 0)
        assert len(emulator.jobs) == CALLS
        upstream = rows_of(environment["IMSGW_DATABASE_URL"], "SELECT upstream_job_id FROM jobs")
        assert {row[0] for row in upstream} == {job.job_id for job in emulator.jobs}


async def test_a_second_sigterm_cuts_calls_off_and_settles_what_is_paid_for(tmp_path):
    """It waits neither for the delay nor for callers: for the service's word, and the ledger."""
    settings = {"workers": 2, "drain_delay_seconds": 600, "drain_seconds": 600}
    async with in_flight(tmp_path, **settings) as (running, emulator, tasks, environment):
        running.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(running.event, "draining")
        running.process.send_signal(signal.SIGTERM)
        for task in tasks:
            with pytest.raises(client_errors.GatewayError):
                await task
        assert running.process.poll() is None
        emulator.release()
        assert await asyncio.to_thread(running.process.wait, 60) == 0
        known = rows_of(
            environment["IMSGW_DATABASE_URL"], "SELECT upstream_job_id, lease_until FROM jobs"
        )
        # Callers repeated what was cut off, and met nobody.
        assert {row[0] for row in known} == {job.job_id for job in emulator.jobs}
        assert {row[1] for row in known} == {None}
        assert len(known) == CALLS


async def test_calls_that_last_too_long_end_and_are_settled(tmp_path):
    """The drain's time is for callers; the process outlasts it by as much as a submit takes."""
    settings = {"drain_seconds": 0.5, "submit_timeout_seconds": 4}
    async with in_flight(tmp_path, **settings) as (running, _, tasks, environment):
        running.process.send_signal(signal.SIGTERM)
        for task in tasks:
            with pytest.raises(client_errors.GatewayError):
                await task
        assert await asyncio.to_thread(running.process.wait, 60) == 0
        assert sum(states(environment).values()) == CALLS
        open_leases = rows_of(
            environment["IMSGW_DATABASE_URL"],
            "SELECT COUNT(*) FROM jobs WHERE lease_until IS NOT NULL",
        )
        assert open_leases == [(0,)]


async def test_nobody_has_to_read_the_decision_log_for_a_stop(tmp_path):
    """A pipe that is full keeps its lines waiting, and neither the process nor the ledger."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Both of its ends, so that neither waits for the other.
    unread = os.open(pipe, os.O_RDWR)
    environment = configuration(tmp_path, KEY, decision_log=pipe)
    try:
        with served(environment) as running:
            async with AsyncClient(running.target, api_key=KEY) as client:
                for _ in range(200):
                    await client.who_am_i()
            assert await asyncio.to_thread(running.stop) == 0
            assert running.event("decisions lost", sink="log")["count"] > 0
    finally:
        os.close(unread)
    kept = rows_of(environment["IMSGW_DATABASE_URL"], "SELECT COUNT(*) FROM decisions")
    assert kept == [(200,)]


async def test_a_watch_goes_on_elsewhere(tmp_path):
    """Its stream ends when the drain begins, long before its job does, and the client resumes."""
    async with in_flight(tmp_path, workers=2) as (running, emulator, tasks, _):
        emulator.release()
        await asyncio.gather(*tasks)
        emulator.add_fault(FaultPlan(FaultKind.NEVER_FINISH))
        async with AsyncClient(f"ipv4:{running.target}", api_key=KEY) as client:
            job = await client.submit(cover())
            waiting = asyncio.create_task(client.wait(job.name))
            # One of them has the watch.
            for number in range(2):
                seen = len(running.events)
                os.kill(running.worker(number), signal.SIGTERM)
                await asyncio.to_thread(running.event, "worker serves", after=seen, worker=number)
            assert not waiting.done()
            await client.cancel(job.name)
            assert (await waiting).state == job_pb2.Job.STATE_CANCELLED
