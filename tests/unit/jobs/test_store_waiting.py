"""How long a caller waits, what becomes of its write then, and how a store ends in time."""

import asyncio
import threading

import pytest

from ims_gateway.errors import StoreUnavailable
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.states import State
from tests.integration.world import until
from tests.unit.jobs.world import DAILY, Hold, intent, opened

INSERT = "INSERT INTO rates VALUES ('acme', :limit_id, '', 1)"
SHORT_SECONDS = 0.3


def insert(limit_id):
    """Return a command that writes one row."""
    return lambda db: db.execute(INSERT, {"limit_id": limit_id}) and None


def delete(limit_id):
    """Return a command that takes the row away."""
    statement = "DELETE FROM rates WHERE limit_id = :limit_id"
    return lambda db: db.execute(statement, {"limit_id": limit_id}) and None


def after(hold, command):
    """Return a command that waits before it does something."""

    def both(db):
        hold(db)
        return command(db)

    return both


def rows(db):
    """Return the names of the rows that are there."""
    found = db.execute("SELECT limit_id FROM rates ORDER BY limit_id").fetchall()
    return [row["limit_id"] for row in found]


async def begun(store, hold, command, **options):
    """Return the task of a write once its command runs."""
    task = asyncio.create_task(store.write(after(hold, command), **options))
    await asyncio.to_thread(hold.begun.wait, 30)
    return task


@pytest.fixture
async def store(database_url):
    """Run a store whose callers wait for as long as the tests need."""
    async with opened(database_url, 30) as running:
        yield running


@pytest.fixture
async def hasty(database_url):
    """Run a store whose callers wait for a moment only."""
    async with opened(database_url, SHORT_SECONDS) as running:
        yield running


async def coming_back(store, command):
    """Write as a caller does that comes back when it is told to."""
    while True:
        try:
            return await store.write(command)
        except StoreUnavailable:
            await asyncio.sleep(0.01)


async def test_a_caller_is_told_in_time_whatever_its_write_waits_for(hasty):
    """And what had not begun by then is never made."""
    hold = Hold()
    first = await begun(hasty, hold, insert("first"))
    second = asyncio.create_task(hasty.write(insert("second")))
    for task in (first, second):
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await task
    hold.ended.set()

    assert "second" not in await coming_back(hasty, rows)


async def test_nothing_is_queued_for_a_database_that_stands_still(hasty):
    """Once somebody has waited in vain, the others are told at once, until it goes on."""
    hold = Hold()
    with pytest.raises(StoreUnavailable):
        await (await begun(hasty, hold, insert("first")))
    await until(lambda: hasty._writer.stuck)
    for number in range(1_000):
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await hasty.write(insert(f"never-{number}"))
    assert hasty._writer._queue.empty()
    hold.ended.set()

    assert set(await coming_back(hasty, rows)) <= {"first"}


async def test_a_caller_of_a_query_is_told_in_time(hasty):
    """Later queries are answered again once the reader's thread is free."""
    hold = Hold()
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await hasty.read(hold)
    hold.ended.set()
    assert await hasty.read(rows) == []


async def test_a_write_that_is_made_too_late_is_undone_before_all_that_is_queued(store):
    """A caller that comes back finds no trace of its first try."""
    hold = Hold()
    task = await begun(store, hold, insert("late"), undo=delete("late"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    again = asyncio.create_task(store.write(rows))
    await asyncio.sleep(0)
    hold.ended.set()

    assert await again == []


async def test_a_write_whose_answer_has_come_is_undone_if_its_caller_is_gone_by_then(store):
    """The moment between the commit and the caller's turn counts, too."""
    hold = Hold()
    task = await begun(store, hold, insert("late"), undo=delete("late"))
    hold.ended.set()
    # Another thread's answer waits until this one lets the loop go on.
    while not _answered(store):
        pass
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await store.write(rows) == []


def _answered(store):
    return store._writer._busy_since is None


async def test_a_write_that_failed_is_not_undone(store):
    """There is nothing to undo, and it might undo somebody else's."""
    undone = threading.Event()
    hold = Hold()
    task = await begun(store, hold, lambda _: 1 / 0, undo=lambda _: undone.set())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hold.ended.set()
    await store.write(rows)

    assert not undone.is_set()


async def test_an_admission_that_comes_too_late_gives_its_quota_and_its_request_id_back(
    store, clock
):
    """The next try is a new job, and the first is on record as what it was."""
    ledger, hold = Ledger(store, clock), Hold()
    holding = await begun(store, hold, rows)
    late = asyncio.create_task(ledger.admit(intent(1, job_id="late"), (DAILY,)))
    await asyncio.sleep(0)
    during = Hold()
    write = store._writer._queue.get()
    write.command = after(during, write.command)
    store._writer.put(write)
    hold.ended.set()
    await holding
    await asyncio.to_thread(during.begun.wait, 30)
    late.cancel()
    with pytest.raises(asyncio.CancelledError):
        await late
    again = asyncio.create_task(ledger.admit(intent(1, job_id="again"), (DAILY,)))
    await asyncio.sleep(0)
    during.ended.set()
    admission = await again
    record = await ledger.find("acme", "late")

    assert (admission.record.job_id, admission.recalled) == ("again", False)
    assert admission.limits[0].remaining == DAILY.max - 1
    assert (record.state, record.failure_code) == (State.REJECTED, "STORE_UNAVAILABLE")


async def test_a_store_is_closed_in_time_although_its_database_stands_still(database_url):
    """Whoever waits is told, and no thread is left behind."""
    wait = "SELECT pg_sleep(60)" if database_url.startswith("postgresql") else ENDLESS
    async with opened(database_url, SHORT_SECONDS) as store:
        tasks = [
            asyncio.create_task(run(lambda db: db.execute(wait).fetchall()))
            for run in (store.write, store.write, store.read)
        ]
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(result) for result in results] == [StoreUnavailable] * 3
    assert not [each for each in threading.enumerate() if each.name.startswith("ledger-")]


ENDLESS = """
WITH RECURSIVE endless (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM endless)
SELECT COUNT(*) FROM endless
"""
