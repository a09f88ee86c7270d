"""Trackers of one or two processes, over one ledger, against a service that can misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from ims_gateway import settlement
from ims_gateway.algorithms.translation import submit_parameters, with_default_output
from ims_gateway.emulator.faults import FaultKind, FaultPlan
from ims_gateway.emulator.server import Emulator
from ims_gateway.emulator.settings import AccessKey, EmulatorSettings
from ims_gateway.errors import StoreUnavailable
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.polling import CLAIM_MICROSECONDS
from ims_gateway.jobs.record import Change, JobRecord
from ims_gateway.jobs.states import State
from ims_gateway.jobs.tracker import LOOK_AROUND_SECONDS, STRANGE_SECONDS, Tracker
from ims_gateway.jobs.watching import Watches
from ims_gateway.upstream.account import Account
from ims_gateway.upstream.credentials import EnvironmentCredentials
from ims_gateway.upstream.errors import JOB_NOT_FOUND
from ims_gateway.upstream.gate import Gates
from tests.integration.world import cover, until
from tests.unit.jobs.world import SECOND, Clock, intent, opened

QUERY = "QueryIProductionJob"
KEYS = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "AKID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret"}
INTERVAL_SECONDS = 2.0
JOB_SECONDS = 400.0
DAY_SECONDS = 86_400.0
# The emulator's clock is the test's, the date of a signed call is the real one.
ANY_DATE_SECONDS = 10**10


@dataclass
class Replica:
    """What one process has of it all."""

    ledger: Ledger
    gates: Gates
    tracker: Tracker
    watches: Watches


@dataclass
class Fleet:
    """Processes over one ledger, the service behind them, and the clock of them all."""

    emulator: Emulator
    clock: Clock
    replicas: list[Replica] = field(default_factory=list)
    submitted: int = 0

    @property
    def asked(self) -> int:
        """How many queries the service has received."""
        return self.emulator.counts.of(QUERY).received

    def fault(self, kind: str, **more: Any) -> None:
        """Let the next query go wrong."""
        self.emulator.add_fault(FaultPlan(FaultKind(kind), **{"action": QUERY} | more))

    async def submit(self, course: str = "") -> str:
        """Submit a job that is due for its first query now; return its id."""
        first, number = self.replicas[0], self.submitted
        self.submitted += 1
        job = with_default_output(cover(), "oss://acme-media/out")
        job.display_name = f"emulator:{course}" if course else ""
        wish = intent(number, spec=job.SerializeToString(), create_time=self.clock.now)
        await first.ledger.admit(wish, ())
        reply = await first.gates["main"].client.submit(submit_parameters(job))
        await first.ledger.change(wish.job_id, settlement.accepted(reply, self.clock.now))
        return wish.job_id

    async def find(self, job_id: str) -> JobRecord:
        """Return the job as the last process sees it."""
        record = await self.replicas[-1].ledger.find("acme", job_id)
        assert record is not None
        return record

    async def state(self, job_id: str) -> State:
        """Return the job's state."""
        return (await self.find(job_id)).state

    async def poll(self, number: int = 0) -> int:
        """Let one process ask about what is due; return about how many jobs."""
        return await self.replicas[number].tracker.poll_due()

    async def due_in(self, job_id: str) -> float:
        """Return in how many seconds the job is due."""
        query, values = "SELECT next_poll_time FROM jobs WHERE job_id = :job_id", {"job_id": job_id}
        store = self.replicas[0].ledger._store
        row = await store.read(lambda db: db.execute(query, values).fetchone())
        return (row["next_poll_time"] - self.clock.now) / SECOND


@asynccontextmanager
async def a_fleet(url: str, *, replicas: int = 1, **account: Any) -> AsyncIterator[Fleet]:
    """Run everything; trackers poll when they are told to, at exact intervals."""
    clock = Clock()
    emulated = EmulatorSettings(
        {"AKID": AccessKey("secret")},
        job_seconds=JOB_SECONDS,
        nonce_window_seconds=ANY_DATE_SECONDS,
        clock=lambda: clock.now / SECOND,
    )
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(Emulator(emulated))
        fleet = Fleet(emulator, clock)
        members = {"scheme": "http", "endpoint": emulator.http_endpoint, "polls_per_second": 1_000}
        upstream = Account("main", "cn-shanghai", EnvironmentCredentials(KEYS), **members | account)
        for _ in range(replicas):
            ledger = Ledger(await stack.enter_async_context(opened(url)), clock)
            gates = await stack.enter_async_context(Gates({"main": upstream}))
            tracker = a_tracker(ledger, gates, clock)
            fleet.replicas.append(Replica(ledger, gates, tracker, a_watcher(ledger, clock)))
        yield fleet
        emulator.release()


def a_tracker(ledger: Ledger, gates: Gates, clock: Clock) -> Tracker:
    """Return a tracker whose intervals are exact."""
    return Tracker(
        ledger,
        gates,
        clock,
        interval_seconds=INTERVAL_SECONDS,
        overdue_seconds=DAY_SECONDS,
        spread=lambda low, high: (low + high) / 2,
    )


def a_watcher(ledger: Ledger, clock: Clock) -> Watches:
    """Return watches that look often."""
    return Watches(ledger, clock, look_seconds=0.01, poll_seconds=INTERVAL_SECONDS)


@pytest.fixture
async def fleet(database_url):
    """Run one process."""
    async with a_fleet(database_url) as running:
        yield running


@pytest.fixture
async def pair(database_url):
    """Run two processes."""
    async with a_fleet(database_url, replicas=2) as running:
        yield running


@pytest.mark.parametrize(
    ("course", "end"),
    [
        ("", State.SUCCEEDED),
        ("analysing_spelling", State.SUCCEEDED),
        ("unknown_status", State.SUCCEEDED),
        ("fail", State.FAILED),
        ("success_with_error_file", State.FAILED),
    ],
)
async def test_job_is_followed_through_its_states_to_its_end(fleet, course, end):
    """Analyzing, Analysing and statuses of later versions are all the same: it runs."""
    job_id = await fleet.submit(course)
    await fleet.poll()
    assert await fleet.state(job_id) is State.QUEUED
    seen = []
    for _ in range(9):
        fleet.clock.advance(60)
        await fleet.poll()
        seen.append(await fleet.state(job_id))
    assert list(dict.fromkeys(seen)) == [State.QUEUED, State.RUNNING, end]
    asked = fleet.asked
    fleet.clock.advance(DAY_SECONDS)
    assert await fleet.poll() == 0
    assert fleet.asked == asked


async def test_of_two_trackers_one_asks(pair):
    """Each job is asked about once, however often both look at the same time."""
    jobs = [await pair.submit() for _ in range(20)]
    for _ in range(5):
        await asyncio.gather(pair.poll(0), pair.poll(1))
    assert pair.asked == len(jobs)


async def test_job_of_a_tracker_that_died_is_taken_over(pair):
    """When its claim ends, and not before: until then it may still be asking."""
    job_id = await pair.submit()
    pair.fault("hang")
    dying = asyncio.create_task(pair.poll(0))
    await pair.emulator.wait_until_hanging(1)
    for poll in [*pair.replicas[0].tracker._polls]:
        # As if its process was gone: nothing is put off or given back.
        poll.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    pair.clock.advance(CLAIM_MICROSECONDS / SECOND - 0.001)
    assert await pair.poll(1) == 0
    pair.clock.advance(101)
    assert await pair.poll(1) == 1
    assert await pair.state(job_id) is State.RUNNING


async def test_tracker_that_stops_leaves_its_jobs_to_another_at_once(pair):
    """Also those that it is just asking about."""
    jobs = [await pair.submit() for _ in range(3)]
    pair.fault("hang", times=3)
    stopping = asyncio.create_task(pair.replicas[0].tracker.run())
    await pair.emulator.wait_until_hanging(3)
    assert await pair.poll(1) == 0
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    assert await pair.poll(1) == len(jobs)
    pair.clock.advance(101)
    assert await pair.poll(1) == len(jobs)
    assert {await pair.state(job_id) for job_id in jobs} == {State.RUNNING}


async def test_budget_of_an_account_holds_for_all_trackers(database_url):
    """Five polls a second, whoever makes them; and every job has its turn."""
    async with a_fleet(database_url, replicas=2, polls_per_second=5) as pair:
        jobs = [await pair.submit() for _ in range(30)]
        received = []
        for _ in range(6):
            await asyncio.gather(pair.poll(0), pair.poll(1))
            received.append(pair.asked)
            pair.clock.advance(1)
        assert received == [5, 10, 15, 20, 25, 30]
        assert all([await pair.due_in(job_id) >= -4 for job_id in jobs])


async def test_polls_leave_room_for_the_calls_that_callers_wait_for(database_url):
    """At most half of an account's calls at once are polls, however slow the service is."""
    async with a_fleet(database_url, max_in_flight=8) as fleet:
        for _ in range(20):
            await fleet.submit()
        fleet.fault("hang", times=None)
        running = asyncio.create_task(fleet.replicas[0].tracker.run())
        await fleet.emulator.wait_until_hanging(4)
        reply = (
            await fleet.replicas[0]
            .gates["main"]
            .client.submit(submit_parameters(with_default_output(cover(), "oss://acme-media/out")))
        )
        assert reply.job_id
        assert fleet.emulator.hanging == 4
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("kind", "more", "pause_seconds"),
    [
        ("throttle", {"retry_after_ms": 20_000}, 22),
        ("throttle", {"retry_after_ms": 0}, 2.2),
        ("server_error", {}, 2.2),
        ("garbage", {}, 2.2),
        ("drop", {}, 2.2),
        ("bad_gateway_html", {}, 2.2),
        ("refuse", {"code": "Forbidden.RAM"}, 2.2),
    ],
)
async def test_failed_poll_pauses_its_account_and_loses_no_job(pair, kind, more, pause_seconds):
    """In all processes, as long as the service asks for; then all goes on."""
    jobs = [await pair.submit() for _ in range(3)]
    pair.fault(kind, times=3, **more)
    assert await pair.poll(0) == 3
    pair.clock.advance(pause_seconds - 0.001)
    late = await pair.submit()
    assert await pair.poll(0) + await pair.poll(1) == 0
    pair.clock.advance(0.001)
    assert await pair.poll(1) == 4
    pair.clock.advance(JOB_SECONDS)
    assert await pair.poll(0) == 4
    assert {await pair.state(job_id) for job_id in [*jobs, late]} == {State.SUCCEEDED}


async def test_outage_is_asked_about_ever_less_and_its_end_is_found(fleet):
    """The pauses of an account double up to a minute; the first answer ends them."""
    job_id = await fleet.submit()
    fleet.fault("server_error", times=8)
    asked = []
    for _ in range(400):
        fleet.clock.advance(1)
        if await fleet.poll():
            asked.append(fleet.clock.now // SECOND)
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses[:7] == [3, 5, 9, 18, 36, 66, 66]
    fleet.clock.advance(JOB_SECONDS)
    await fleet.poll()
    assert await fleet.state(job_id) is State.SUCCEEDED


async def test_one_bad_job_does_not_hold_up_the_others(fleet):
    """What is unclear about one job for ever leaves the pace of the rest nearly as it was."""
    bad = await fleet.submit()
    good = [await fleet.submit() for _ in range(5)]
    upstream_job_id = (await fleet.find(bad)).upstream_job_id
    fleet.fault("garbage", times=None, match={"JobId": upstream_job_id})
    for _ in range(120):
        fleet.clock.advance(5)
        await fleet.poll()
    assert {await fleet.state(job_id) for job_id in good} == {State.SUCCEEDED}
    assert await fleet.state(bad) is State.QUEUED


class BuggyClient:
    """A client whose reader has a bug that one job's replies bring out."""

    def __init__(self, client: Any, upstream_job_id: str) -> None:
        self._client = client
        self._upstream_job_id = upstream_job_id

    async def query(self, job_id: str, **options: Any) -> dict[str, Any]:
        """Ask, or fail as no client should."""
        if job_id == self._upstream_job_id:
            raise KeyError("https://acme-media.oss/out.mp4?Signature=secret")
        return await self._client.query(job_id, **options)


class BuggyGates(Gates):
    """Gates with that client."""

    upstream_job_id = ""

    def __getitem__(self, account: str) -> Any:
        gate = super().__getitem__(account)
        return replace(gate, client=BuggyClient(gate.client, self.upstream_job_id))


async def test_bug_in_one_reply_stops_neither_the_tracker_nor_the_other_jobs(fleet):
    """It is logged with the job's name and nothing of the reply, and that job waits a minute."""
    bad, good = await fleet.submit(), await fleet.submit()
    replica = fleet.replicas[0]
    gates = BuggyGates({"main": replica.gates["main"].account})
    gates.upstream_job_id = (await fleet.find(bad)).upstream_job_id
    async with gates:
        tracker = a_tracker(replica.ledger, gates, fleet.clock)
        with capture_logs() as lines:
            running = asyncio.create_task(tracker.run())
            await until(lambda: [line for line in lines if line["event"] == "poll failed"])
            fleet.clock.advance(101)

            async def runs():
                return await fleet.state(good) is State.RUNNING

            await until(runs)
            assert not running.done()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    failed = [line for line in lines if line["event"] == "poll failed"]
    assert failed[0]["job"] == f"tenants/acme/jobs/{bad}"
    assert failed[0]["error"] == "KeyError"
    assert failed[0]["at"].startswith("test_tracker.py:")
    assert "secret" not in str(lines)
    assert await fleet.state(bad) is State.QUEUED
    assert await fleet.due_in(bad) <= 60


async def test_overdue_job_is_told_once_and_followed_at_the_slowest_pace(pair):
    """By whichever process sees it first; and should it end after all, that is seen."""
    job_id = await pair.submit("never_finish")
    with capture_logs() as lines:
        for number in range(4):
            pair.clock.advance(DAY_SECONDS / 2)
            assert await pair.poll(number % 2) == 1
        await pair.replicas[0].ledger.hasten([job_id], pair.clock.now)
        assert await pair.poll(0) == 0
    told = [line for line in lines if line["event"] == "job overdue"]
    assert told == [
        {
            "event": "job overdue",
            "job": f"tenants/acme/jobs/{job_id}",
            "account": "main",
            "open_hours": 36.0,
            "log_level": "warning",
        }
    ]
    assert await pair.due_in(job_id) == 60
    upstream_job_id = (await pair.find(job_id)).upstream_job_id
    await pair.replicas[0].gates["main"].client.cancel(upstream_job_id)
    pair.clock.advance(60)
    await pair.poll(1)
    assert await pair.state(job_id) is State.FAILED


async def test_watch_at_one_process_hastens_the_tracker_of_another(pair):
    """An old job is asked about every two to four seconds instead of every thirty."""
    job_id = await pair.submit()
    pair.clock.advance(100)
    await pair.poll(0)
    pair.clock.advance(200)
    await pair.poll(0)
    assert await pair.due_in(job_id) == pytest.approx(30)
    watches, asked = pair.replicas[1].watches, 0
    async with aclosing(watches.changes(await pair.find(job_id))) as changes:
        told = asyncio.ensure_future(anext(changes))
        await until(lambda: len(watches) == 1)
        for _ in range(105):
            pair.clock.advance(1)
            await watches.hasten()
            asked += await pair.poll(0)
        await watches.look()
        await until(told.done)
        assert told.result().state is State.SUCCEEDED
    assert len(watches) == 0
    assert 100 / INTERVAL_SECONDS >= asked >= 50 / INTERVAL_SECONDS


async def test_cancellation_while_a_tracker_asks_is_not_overwritten(fleet):
    """The service's Fail is the cancellation's end, also if it was asked for before."""
    job_id = await fleet.submit("never_finish")
    record = await fleet.find(job_id)
    fleet.fault("hang")
    asking = asyncio.create_task(fleet.poll())
    await fleet.emulator.wait_until_hanging(1)
    await fleet.replicas[0].gates["main"].client.cancel(record.upstream_job_id)
    cancelling = Change(State.CANCELLING, cause="by a caller", next_poll_time=fleet.clock.now)
    await fleet.replicas[0].ledger.change(job_id, cancelling)
    fleet.emulator.release()
    await asking
    assert await fleet.state(job_id) is State.CANCELLING
    await fleet.poll()
    assert await fleet.state(job_id) is State.CANCELLED


async def test_job_that_the_service_does_not_know_has_failed_but_not_at_once(fleet):
    """What it took a moment ago may not be known everywhere there."""
    job_id = await fleet.submit()
    fleet.fault("refuse", code=JOB_NOT_FOUND, times=None)
    await fleet.poll()
    assert await fleet.state(job_id) is State.QUEUED
    fleet.clock.advance(STRANGE_SECONDS)
    await fleet.poll()
    record = await fleet.find(job_id)
    assert (record.state, record.failure_code) == (State.FAILED, JOB_NOT_FOUND)


async def test_job_is_asked_about_again_soon_after_a_clock_was_wrong(fleet):
    """Of a time that was a day ahead, a job's next query must not stay a day away."""
    job_id = await fleet.submit()
    fleet.clock.advance(DAY_SECONDS - 60)
    fleet.fault("garbage")
    await fleet.poll()
    fleet.clock.advance(60 - DAY_SECONDS)
    for _ in range(2):
        fleet.clock.advance(LOOK_AROUND_SECONDS)
        await fleet.poll()
    assert fleet.asked == 2
    fleet.clock.advance(JOB_SECONDS)
    await fleet.poll()
    assert await fleet.state(job_id) is State.SUCCEEDED


async def test_jobs_of_an_account_that_is_no_more_are_told_and_kept(fleet):
    """They wait for the account to be configured again, and hold up nobody."""
    await fleet.submit()
    replica = fleet.replicas[0]
    async with Gates({}) as gates:
        tracker = a_tracker(replica.ledger, gates, fleet.clock)
        with capture_logs() as lines:
            for _ in range(60):
                assert await tracker.poll_due() == 0
                fleet.clock.advance(1)
    assert lines == [
        {
            "event": "jobs of an account that is no more",
            "account": "main",
            "jobs": 1,
            "log_level": "error",
        }
    ]
    assert await fleet.poll() == 1


class AwayStore:
    """A store whose database is away for a while."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.refused = 0
        self.away = False

    async def read(self, query: Any) -> Any:
        """Read, if the database is there."""
        self._refuse()
        return await self._store.read(query)

    async def write(self, command: Any, **options: Any) -> Any:
        """Write, if the database is there."""
        self._refuse()
        return await self._store.write(command, **options)

    def _refuse(self) -> None:
        if self.away:
            self.refused += 1
            raise StoreUnavailable("away")


async def test_tracker_waits_for_a_ledger_that_is_away_and_says_so_once(fleet):
    """Then it goes on by itself."""
    replica = fleet.replicas[0]
    store = AwayStore(replica.ledger._store)
    tracker = Tracker(
        Ledger(store, fleet.clock),
        replica.gates,
        fleet.clock,
        interval_seconds=0.01,
        overdue_seconds=DAY_SECONDS,
    )
    store.away = True
    with capture_logs() as lines:
        running = asyncio.create_task(tracker.run())
        await until(lambda: store.refused > 20)
        job_id = await fleet.submit()
        fleet.clock.advance(101)
        store.away = False

        async def runs():
            return await fleet.state(job_id) is State.RUNNING

        await until(runs)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [line["event"] for line in lines] == ["tracker waits for the ledger"]
