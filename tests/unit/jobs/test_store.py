"""Writes are committed in groups, and each gets its own true answer, whatever happens."""

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing

import pytest

from ims_gateway.errors import RateExceeded, StoreUnavailable
from ims_gateway.jobs.sqlite import SqliteDatabase
from ims_gateway.jobs.store import Store
from ims_gateway.jobs.writer import LARGEST_GROUP
from tests.unit.jobs.world import Hold, opened

INSERT = "INSERT INTO rates VALUES ('acme', ?, '', 1)"


def insert(limit_id):
    """Return a command that writes one row, and answers with its name."""

    def command(db):
        db.execute(INSERT, (limit_id,))
        return limit_id

    return command


def fail(_):
    """Go wrong in a way that is not SQLite's."""
    raise ZeroDivisionError


def refuse(_):
    """Refuse, before anything is written."""
    raise RateExceeded(())


def break_rule(db):
    """Write a row, then break a rule of the schema."""
    db.execute(INSERT, ("half",))
    db.execute(INSERT, ("half",))


@asynccontextmanager
async def one_group(store):
    """Let what is written within be one group."""
    hold = Hold()
    held = asyncio.create_task(store.write(hold))
    await asyncio.to_thread(hold.begun.wait, 30)
    try:
        yield
    finally:
        # Let the tasks that were made within put their writes into the queue.
        await asyncio.sleep(0)
        hold.ended.set()
        await held


def written(path):
    """Return the rows that are on disk, as another process sees them."""
    with closing(sqlite3.connect(path)) as db:
        return [row[0] for row in db.execute("SELECT limit_id FROM rates ORDER BY limit_id")]


async def in_one_group(store, *commands):
    """Write commands as one group; return results and exceptions."""
    async with one_group(store):
        tasks = [asyncio.create_task(store.write(command)) for command in commands]
    return await asyncio.gather(*tasks, return_exceptions=True)


async def traced(store):
    """Return the list to which every statement of the writer is added."""
    statements = []
    await store.write(lambda db: db.set_trace_callback(statements.append))
    return statements


async def test_a_write_is_on_disk_when_it_returns(store, path):
    """And its result is the command's."""
    assert await store.write(insert("a")) == "a"

    assert written(path) == ["a"]


async def test_the_file_is_synced_at_every_commit(store):
    """An intent that is lost is a job that is lost, or paid twice."""
    settings = ("journal_mode", "synchronous")
    found = [
        await store.write(lambda db, name=name: db.execute(f"PRAGMA {name}").fetchone()[0])
        for name in settings
    ]

    assert found == ["wal", 2]


async def test_many_writes_share_few_commits(store, path):
    """Each gets its own result; what queued up while one ran is one transaction."""
    count = LARGEST_GROUP + 50
    statements = await traced(store)
    names = [f"{number:04}" for number in range(count)]
    results = await in_one_group(store, *(insert(name) for name in names))

    assert results == written(path) == names
    # Of the trace itself, of the hold, and two for what came after it.
    assert statements.count("COMMIT") == 4


async def test_a_command_that_fails_fails_alone(store, path):
    """The others of its group are committed, and nothing that it wrote is."""
    results = await in_one_group(store, insert("a"), fail, insert("b"), break_rule, insert("c"))

    assert results[::2] == written(path) == ["a", "b", "c"]
    assert isinstance(results[1], ZeroDivisionError)
    assert isinstance(results[3], StoreUnavailable)
    assert isinstance(results[3].__cause__, sqlite3.IntegrityError)


async def test_a_refusal_keeps_nobody_else_of_its_group_from_the_commit(store, path):
    """It is the answer to one caller, and no reason to begin anew."""
    statements = await traced(store)
    results = await in_one_group(store, insert("a"), refuse, insert("b"))

    assert results[::2] == written(path) == ["a", "b"]
    assert isinstance(results[1], RateExceeded)
    assert "ROLLBACK" not in statements


async def test_a_command_that_ran_twice_is_answered_by_its_second_run(store, path):
    """Refused first, then done: the caller must not be told that it was refused."""
    runs = []

    def refuse_once(db):
        runs.append(None)
        return refuse(db) if len(runs) == 1 else insert("a")(db)

    results = await in_one_group(store, refuse_once, fail)

    assert len(runs) == 2
    assert results[0] == "a"
    assert written(path) == ["a"]


async def test_a_command_that_was_done_and_then_refused_is_refused(store, path):
    """Its first run was rolled back."""
    runs = []

    def do_once(db):
        runs.append(None)
        return insert("a")(db) if len(runs) == 1 else refuse(db)

    results = await in_one_group(store, do_once, fail)

    assert isinstance(results[0], RateExceeded)
    assert written(path) == []


async def test_writes_follow_each_other_in_order(store):
    """A command sees what was written before it, in its own group."""
    count = "SELECT COUNT(*) FROM rates"
    commands = [insert("a"), lambda db: db.execute(count).fetchone()[0], insert("b")]
    results = await in_one_group(store, *commands, commands[1])

    assert results == ["a", 1, "b", 2]


async def test_a_write_that_nobody_waits_for_any_more_is_not_made(store, path):
    """Its caller hung up before its turn came."""
    async with one_group(store):
        tasks = [asyncio.create_task(store.write(insert(name))) for name in "abc"]
        await asyncio.sleep(0)
        tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert results[::2] == written(path) == ["a", "c"]
    assert isinstance(results[1], asyncio.CancelledError)


async def test_a_caller_that_hangs_up_during_its_write_disturbs_nobody(store, path):
    """The write is made; there is nobody to tell."""
    hold = Hold()
    async with one_group(store):
        gone = asyncio.create_task(store.write(lambda db: (hold(db), insert("a")(db))))
        other = asyncio.create_task(store.write(insert("b")))
    await asyncio.to_thread(hold.begun.wait, 30)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    hold.ended.set()

    assert await asyncio.wait_for(other, 30) == "b"
    assert written(path) == ["a", "b"]


async def test_a_locked_database_is_unavailable_for_all_that_wait(store, path):
    """Together, and not one after the other; it comes back with the lock's end."""
    statements = await traced(store)
    await store.write(lambda db: db.execute("PRAGMA busy_timeout = 50"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        statements.clear()
        writes = (store.write(insert(f"{number}")) for number in range(20))
        results = await asyncio.gather(*writes, return_exceptions=True)
        other.execute("ROLLBACK")

    assert {type(result) for result in results} == {StoreUnavailable}
    # The first, which finds nobody else, and the group of those that came meanwhile.
    assert 1 <= statements.count("BEGIN IMMEDIATE") <= 2
    assert await store.write(insert("a")) == "a"


async def test_a_database_that_cannot_be_written_is_unavailable(store):
    """Each caller has an error of its own; to read is still possible."""
    await store.write(lambda db: db.execute("PRAGMA query_only = ON"))
    writes = [store.write(insert("a")), store.write(insert("b"))]
    results = await asyncio.gather(*writes, return_exceptions=True)

    assert [type(result) for result in results] == [StoreUnavailable] * 2
    assert results[0] is not results[1]
    assert str(results[0]) == "the ledger cannot be written"
    assert await store.read(lambda db: db.execute("SELECT COUNT(*) FROM rates").fetchone()[0]) == 0


async def test_a_broken_database_is_unavailable(store, path):
    """For reading, too; the message says nothing of the file."""
    path.with_name(f"{path.name}-wal").unlink(missing_ok=True)
    path.write_bytes(b"\x00" * 100)
    for run in (store.read, store.write):
        with pytest.raises(StoreUnavailable) as raised:
            await run(lambda db: db.execute("SELECT * FROM rates").fetchall())
        assert str(path) not in raised.value.message


async def test_a_database_that_cannot_be_opened_stops_the_start(tmp_path):
    """And not the first write, which would wait for ever."""
    with pytest.raises(sqlite3.OperationalError):
        Store(SqliteDatabase(tmp_path / "no" / "such" / "ledger.db", timeout_seconds=5.0))


async def test_reads_do_not_wait_for_the_writer(store):
    """They see what was committed before."""
    await store.write(insert("a"))
    async with one_group(store):
        rows = await store.read(lambda db: db.execute("SELECT COUNT(*) FROM rates").fetchone()[0])

    assert rows == 1


async def test_a_refusal_of_a_query_is_its_answer(store):
    """As of a command."""
    with pytest.raises(RateExceeded):
        await store.read(refuse)


async def test_close_finishes_what_is_queued(path):
    """All of it, also more than one group, and everybody is answered."""
    async with opened(path) as store:
        hold = Hold()
        held = asyncio.create_task(store.write(hold))
        await asyncio.to_thread(hold.begun.wait, 30)
        names = [f"{number:04}" for number in range(LARGEST_GROUP + 10)]
        tasks = [asyncio.create_task(store.write(insert(name))) for name in names]
        await asyncio.sleep(0)
        closing_store = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        hold.ended.set()
        await closing_store

        assert await asyncio.gather(held, *tasks) == [None, *names]
        assert written(path) == names


async def test_a_closed_store_is_unavailable(path):
    """Nobody waits for a writer that is gone."""
    async with opened(path) as store:
        await store.close()
        for run in (store.read, store.write):
            with pytest.raises(StoreUnavailable, match="closed"):
                await run(insert("a"))
