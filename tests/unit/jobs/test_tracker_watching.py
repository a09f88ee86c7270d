"""Watches of one process: one look for all, and each is told what is news to it."""

import asyncio
from contextlib import aclosing, asynccontextmanager

import pytest

from ims_gateway.errors import GatewayBusy, JobNotFound, StoreUnavailable
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.record import Change
from ims_gateway.jobs.states import State
from ims_gateway.jobs.watching import Watches
from tests.integration.world import until
from tests.unit.jobs.world import NOON, SECOND, intent, opened

# Nothing is looked at by itself but when the first watch comes.
NEVER_SECONDS = 3_600.0


class AskedStore:
    """A store that counts what is asked of it, holds answers back, or gives none."""

    def __init__(self, store):
        self._store = store
        self.reads = self.seen = self.writes = 0
        self.open = asyncio.Event()
        self.open.set()
        self.down = False

    async def read(self, query):
        """Look, and hand over what was seen once the way is open."""
        self.reads += 1
        if self.down:
            raise StoreUnavailable("down")
        rows = await self._store.read(query)
        self.seen += 1
        await self.open.wait()
        return rows

    async def write(self, command, **options):
        """Count a transaction."""
        self.writes += 1
        if self.down:
            raise StoreUnavailable("down")
        return await self._store.write(command, **options)


@pytest.fixture
async def store(database_url):
    """Run a store on each kind of database."""
    async with opened(database_url) as running:
        yield running


@pytest.fixture
def asked(store):
    """Return the store that the watches ask."""
    return AskedStore(store)


@pytest.fixture
def watches(asked, clock):
    """Return watches that look when they are told to."""
    return a_watcher(asked, clock, NEVER_SECONDS)


def a_watcher(asked, clock, look_seconds):
    """Return the watches of a process that asks about a job every ten seconds."""
    ledger = Ledger(asked, clock)
    return Watches(ledger, clock, look_seconds=look_seconds, poll_seconds=10)


async def a_job(ledger, number=0):
    """Make a job that the service has taken, due in a minute."""
    await ledger.admit(intent(number), ())
    change = Change(State.QUEUED, cause="test", next_poll_time=NOON + 60 * SECOND)
    return (await ledger.change(f"job-{number}", change))[0]


async def moved(ledger, clock, state, number=0):
    """Change a job a second later."""
    clock.advance(1)
    return (await ledger.change(f"job-{number}", Change(state, cause="test")))[0]


@asynccontextmanager
async def watching(watches, asked, *records):
    """Watch jobs; yield what each watch is told, once all wait and the first look is over."""
    told = [[] for _ in records]

    async def follow(record, seen):
        async with aclosing(watches.changes(record)) as changes:
            async for changed in changes:
                seen.append(changed.state)

    reads, before = asked.seen, len(watches)
    tasks = [asyncio.create_task(follow(*each)) for each in zip(records, told, strict=True)]
    await until(lambda: len(watches) == before + len(records))
    await until(lambda: before or asked.seen > reads)
    try:
        yield told, tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_look_serves_all_watches_of_all_jobs(ledger, clock, watches, asked):
    """Also a look that has news for every one of them."""
    records = [await a_job(ledger, number) for number in range(3)]
    async with watching(watches, asked, *records * 20) as (told, tasks):
        for number in (0, 1):
            await moved(ledger, clock, State.RUNNING, number)
        reads = asked.reads
        await watches.look()
        assert asked.reads == reads + 1
        await until(lambda: [len(seen) for seen in told] == [1, 1, 0] * 20)
        for number in range(3):
            await moved(ledger, clock, State.SUCCEEDED, number)
        await watches.look()
        await asyncio.gather(*tasks)
    both = [State.RUNNING, State.SUCCEEDED]
    assert told == [both, both, both[1:]] * 20


async def test_first_watch_is_looked_after_at_once_and_none_costs_nothing(ledger, watches, asked):
    """No look is made for nobody."""
    record = await a_job(ledger)
    async with watching(watches, asked, record):
        assert asked.reads == 1
        assert watches._looks is not None
    assert len(watches) == 0
    assert watches._looks is None
    assert asked.reads == 1


async def test_watch_that_goes_away_leaves_the_others(ledger, clock, watches, asked):
    """And frees its share."""
    record = await a_job(ledger)
    async with watching(watches, asked, record, record, record) as (told, tasks):
        tasks[1].cancel()
        await until(lambda: len(watches) == 2)
        await moved(ledger, clock, State.SUCCEEDED)
        await watches.look()
        await asyncio.gather(tasks[0], tasks[2])
        assert told == [[State.SUCCEEDED], [], [State.SUCCEEDED]]
        assert len(watches) == 0


async def test_watch_is_never_told_what_was_before_what_it_has_seen(ledger, clock, watches, asked):
    """A look that began before the watch came may be older than what its caller was shown."""
    queued = await a_job(ledger)
    async with watching(watches, asked, queued) as (told, _):
        await moved(ledger, clock, State.RUNNING)
        asked.open.clear()
        looking, seen = asyncio.create_task(watches.look()), asked.seen
        await until(lambda: asked.seen > seen)
        cancelling = await moved(ledger, clock, State.CANCELLING)
        async with watching(watches, asked, cancelling) as (late, _):
            asked.open.set()
            await looking
            await until(lambda: told == [[State.RUNNING]])
            assert late == [[]]
            await moved(ledger, clock, State.SUCCEEDED)
            await watches.look()
            await until(lambda: late == [[State.SUCCEEDED]])


async def test_slow_watch_gets_the_latest_state_only(ledger, clock, watches, asked):
    """What it did not fetch in time is not kept for it."""
    record = await a_job(ledger)
    async with aclosing(watches.changes(record)) as changes:
        first = asyncio.ensure_future(anext(changes))
        await until(lambda: asked.seen == 1)
        for state in (State.RUNNING, State.CANCELLING, State.CANCELLED):
            await moved(ledger, clock, state)
            await watches.look()
            await first
        assert first.result().state is State.RUNNING
        assert [each.state async for each in changes] == [State.CANCELLED]


async def test_every_watch_is_told_that_the_ledger_is_away(ledger, clock, watches, asked):
    """It is for the caller to come back; who does is served as before."""
    record = await a_job(ledger)
    quick = a_watcher(asked, clock, 0.001)
    async with watching(quick, asked, record, record) as (_, tasks):
        asked.down = True
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
    assert len(quick) == 0
    asked.down = False
    async with watching(watches, asked, record) as (told, tasks):
        await moved(ledger, clock, State.SUCCEEDED)
        await watches.look()
        await asyncio.gather(*tasks)
    assert told == [[State.SUCCEEDED]]


async def test_watch_of_a_job_that_is_purged_ends(ledger, watches, asked, store):
    """As if there had never been one."""
    record = await a_job(ledger)
    async with watching(watches, asked, record) as (_, tasks):
        await store.write(lambda db: db.execute("DELETE FROM jobs"))
        await watches.look()
        with pytest.raises(JobNotFound):
            await tasks[0]


async def test_drained_watches_end_and_no_new_one_begins(ledger, watches, asked):
    """A gateway that shuts down need not wait for the jobs that somebody watches."""
    record = await a_job(ledger)
    async with watching(watches, asked, record, record) as (_, tasks):
        watches.drain()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [GatewayBusy] * 2
    with pytest.raises(GatewayBusy):
        await anext(watches.changes(record))
    assert len(watches) == 0


async def test_ended_job_is_not_watched(ledger, clock, watches, asked):
    """There is nothing to come."""
    await a_job(ledger)
    record = await moved(ledger, clock, State.SUCCEEDED)
    assert [each async for each in watches.changes(record)] == []
    assert asked.reads == 0


async def test_watched_jobs_are_hastened_once_for_all_watches_and_again_in_time(
    ledger, clock, watches, asked
):
    """As long as they are watched, whichever process's tracker has them."""
    records = [await a_job(ledger, number) for number in range(3)]
    await a_job(ledger, 3)
    async with watching(watches, asked, *records, *records):
        assert await due(ledger, clock) == [10, 10, 10, 60]
        writes = asked.writes
        await ledger._store.write(lambda db: db.execute(PUT_OFF, {"time": NOON + 60 * SECOND}))
        clock.advance(9)
        await watches.hasten()
        assert asked.writes == writes
        clock.advance(1)
        await watches.hasten()
        assert asked.writes == writes + 1
        assert await due(ledger, clock) == [10, 10, 10, 50]


PUT_OFF = "UPDATE jobs SET next_poll_time = :time"


async def due(ledger, clock):
    """Return in how many seconds the jobs are due."""
    query = "SELECT next_poll_time FROM jobs ORDER BY job_id"
    rows = await ledger._store.read(lambda db: db.execute(query).fetchall())
    return [(row["next_poll_time"] - clock.now) / SECOND for row in rows]


async def test_job_that_is_watched_anew_is_hastened_at_once(ledger, clock, watches, asked):
    """Though others were a moment ago."""
    records = [await a_job(ledger, number) for number in range(2)]
    async with watching(watches, asked, records[0]):
        clock.advance(1)
        async with watching(watches, asked, records[1]):
            await watches.hasten()
            assert await due(ledger, clock) == [9, 10]
