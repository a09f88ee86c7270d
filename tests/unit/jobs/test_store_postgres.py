"""A store on PostgreSQL: lost connections, commits whose answer is lost, locks between replicas."""

import asyncio
from contextlib import asynccontextmanager

import psycopg
import pytest

from ims_gateway.errors import StoreUnavailable
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.postgres import PostgresDatabase, translated
from ims_gateway.jobs.record import Change
from ims_gateway.jobs.rows import DISPATCH, change_state
from ims_gateway.jobs.states import State
from ims_gateway.jobs.store import Store
from tests.integration.world import until
from tests.unit.jobs.world import DAILY, DEMAND, NOON, Clock, Hold, intent, opened

INSERT = "INSERT INTO rates VALUES ('acme', :limit_id, '', 1)"
ROWS = "SELECT limit_id FROM rates ORDER BY limit_id"
QUEUED = Change(State.QUEUED, cause="accepted", upstream_job_id="u-1", next_poll_time=NOON)


def insert(limit_id):
    """Return a command that writes one row."""
    return lambda db: db.execute(INSERT, {"limit_id": limit_id}) and limit_id


def rows(db):
    """Return the names of the rows that are there."""
    return [row["limit_id"] for row in db.execute(ROWS).fetchall()]


@pytest.fixture
def url(postgresql):
    """Return the URL of a migrated ledger."""
    return postgresql.new_database()


@pytest.fixture
async def store(url):
    """Run a store."""
    async with opened(url) as running:
        yield running


class Fragile(PostgresDatabase):
    """A database whose connections break at a commit: before the server has got it, or after."""

    def __init__(self, url, timeout_seconds=5.0):
        super().__init__(url, timeout_seconds)
        self.breaks = []
        self.away = False

    def connect(self):
        """Connect, if there is anything to connect to."""
        if self.away:
            raise psycopg.OperationalError("away")
        session = super().connect()
        commit = session.commit

        def fragile():
            if not self.breaks:
                commit()
                return
            if self.breaks.pop(0) == "after":
                commit()
            session.close()
            raise psycopg.OperationalError("broken")

        session.commit = fragile
        return session


@asynccontextmanager
async def fragile(url):
    """Run a store over a fragile database; yields both."""
    broken = Fragile(url)
    store = Store(broken)
    try:
        yield broken, store
    finally:
        await store.close()


async def test_a_server_that_hung_up_is_not_noticed(postgresql, store):
    """Neither by a write nor by a query: both come with a connection of their own again."""
    await store.write(insert("a"))
    await store.read(rows)
    postgresql.hang_up()

    assert await store.write(insert("b")) == "b"
    assert await store.read(rows) == ["a", "b"]


async def test_a_group_whose_connection_breaks_is_run_again(store):
    """Of what it had done until then nothing is left, so nothing is done twice."""
    runs = []

    def cut_off(db):
        runs.append(None)
        insert("a")(db)
        if len(runs) == 1:
            db.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return "done"

    assert await asyncio.gather(store.write(cut_off), store.write(insert("b"))) == ["done", "b"]
    assert len(runs) == 2
    assert await store.read(rows) == ["a", "b"]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_admission_whose_commit_got_no_answer_is_admitted_once(url, clock, moment):
    """The second run finds its own job, if there is one: it is new, and charged once."""
    async with fragile(url) as (broken, store):
        ledger = Ledger(store, clock)
        broken.breaks = [moment]
        admission = await ledger.admit(intent(1), (DAILY,))

        assert (admission.record.job_id, admission.recalled) == ("job-1", False)
        assert (await ledger.preview(DEMAND, (DAILY,)))[0].remaining == DAILY.max - 2


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_change_whose_commit_got_no_answer_is_made_once(url, clock, moment):
    """Its history has it once."""
    async with fragile(url) as (broken, store):
        ledger = Ledger(store, clock)
        await ledger.admit(intent(1), (DAILY,))
        broken.breaks = [moment]
        record, _ = await ledger.change("job-1", QUEUED)
        history = await store.read(
            lambda db: db.execute("SELECT state FROM transitions ORDER BY number").fetchall()
        )

        assert (record.state, record.upstream_job_id) == (State.QUEUED, "u-1")
        assert [row["state"] for row in history] == [State.SUBMITTING, State.QUEUED]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_admission_that_nobody_can_be_told_of_is_taken_back(url, clock, moment):
    """With the database away after a commit without an answer, its caller must be told to return.

    That caller sends nothing. When the database is back, so is the quota.
    """
    async with fragile(url) as (broken, store):
        ledger = Ledger(store, clock)
        broken.breaks = [moment]
        broken.away = True
        with pytest.raises(StoreUnavailable):
            await ledger.admit(intent(1), (DAILY,))
        broken.away = False
        again = await ledger.admit(intent(2, request_id="request-1"), (DAILY,))
        record = await ledger.find("acme", "job-1")

        assert not again.recalled
        assert (await ledger.preview(DEMAND, (DAILY,)))[0].remaining == DAILY.max - 2
        assert (record and record.state) is (State.REJECTED if moment == "after" else None)


async def test_a_transaction_that_a_command_spoiled_is_not_taken_for_committed(store):
    """PostgreSQL answers its COMMIT without an error: with a ROLLBACK."""

    def spoil(db):
        insert("a")(db)
        with pytest.raises(psycopg.Error):
            db.execute("SELECT 1 / 0")

    with pytest.raises(StoreUnavailable):
        await store.write(spoil)
    assert await store.read(rows) == []


async def test_a_lock_is_held_by_one_replica_at_a_time(url):
    """Until its commit. Other names are free meanwhile."""
    async with opened(url) as first, opened(url) as second:
        hold = Hold()
        holding = asyncio.create_task(first.write(lambda db: (hold(db), insert("a")(db)), lock="x"))
        await asyncio.to_thread(hold.begun.wait, 30)
        assert await second.write(rows, lock="y") == []
        waiting = asyncio.create_task(second.write(rows, lock="x"))
        await until(lambda: second.read(waiting_for_a_lock))
        hold.ended.set()
        await holding

        assert await waiting == ["a"]


def waiting_for_a_lock(db):
    """Say whether somebody waits for a lock of this database."""
    waits = """SELECT 1 AS found FROM pg_stat_activity
               WHERE wait_event_type = 'Lock' AND datname = current_database()"""
    return db.execute(waits).fetchone()


async def test_groups_with_many_locks_never_wait_for_each_other_in_a_circle(url):
    """Each takes all of its own at once, in an order that all share."""
    names = [f"{number}" for number in range(40)]
    async with opened(url) as first, opened(url) as second:
        before = await first.read(deadlocks)
        for _ in range(5):
            writes = [
                store.write(lambda db: db.execute("SELECT 1").fetchone(), lock=name)
                for pair in zip(names, reversed(names), strict=True)
                for store, name in zip((first, second), pair, strict=True)
            ]
            await asyncio.gather(*writes)

        assert await first.read(deadlocks) == before


def deadlocks(db):
    """Return how many deadlocks the database has seen."""
    count = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return db.execute(count).fetchone()["deadlocks"]


async def test_a_deadlock_of_rows_leaves_nothing_half_done(url):
    """PostgreSQL ends one of the two transactions; its caller is told to come back."""
    touch = "UPDATE rates SET tat = tat + 1 WHERE limit_id = :limit_id"
    async with opened(url) as first, opened(url) as second:
        for name in "ab":
            await first.write(insert(name))
        met = [Hold(), Hold()]

        def crossing(own, hold, other):
            def command(db):
                db.execute(touch, {"limit_id": own})
                hold(db)
                db.execute(touch, {"limit_id": other})

            return command

        tasks = [
            asyncio.create_task(first.write(crossing("a", met[0], "b"))),
            asyncio.create_task(second.write(crossing("b", met[1], "a"))),
        ]
        for hold in met:
            await asyncio.to_thread(hold.begun.wait, 30)
        for hold in met:
            hold.ended.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        found = await first.read(lambda db: db.execute("SELECT tat FROM rates").fetchall())

        assert {type(result) for result in results} == {type(None), StoreUnavailable}
        assert [row["tat"] for row in found] == [2, 2]


async def test_a_replica_that_stands_still_gives_its_locks_back(url):
    """The server ends its session, the others go on, and it repeats what it had begun."""
    async with opened(url, 1) as still, opened(url, 30) as other:
        hold = Hold()
        task = asyncio.create_task(
            still.write(lambda db: (insert("a")(db), hold(db)), lock="x", undo=lambda _: None)
        )
        await asyncio.to_thread(hold.begun.wait, 30)
        assert await other.write(insert("b"), lock="x") == "b"
        hold.ended.set()
        await asyncio.gather(task, return_exceptions=True)

        assert "b" in await other.read(rows)


async def test_defaults_of_the_database_do_not_loosen_what_the_ledger_needs(postgresql, url):
    """A snapshot from before a wait would overspend; a lazy commit would forget an intent."""
    name = url.partition("?")[0].rpartition("/")[2]
    for setting in ("default_transaction_isolation = 'serializable'", "synchronous_commit = off"):
        postgresql.execute(f"ALTER DATABASE {{}} SET {setting}", name)

    def settings(db):
        shown = ("transaction_isolation", "synchronous_commit")
        return [db.execute(f"SHOW {name}").fetchone()[name] for name in shown]

    async with opened(url) as store:
        assert await store.write(settings) == ["read committed", "on"]


async def test_a_text_with_letters_that_postgresql_lacks_settles_a_job_all_the_same(store, clock):
    """What the service said about a paid job may be anything, and of any length."""
    ledger = Ledger(store, clock)
    await ledger.admit(intent(1), ())
    odd = Change(State.REJECTED, cause="c", failure_code="x" * 500, failure_message="a\x00b\ud800")
    record, changed = await ledger.change("job-1", odd)

    assert changed
    assert (record.failure_code, record.failure_message) == ("x" * 500, "a\ufffdb?")


async def test_a_change_that_another_replica_came_before_is_not_made(url, clock):
    """It waits for the other, and then looks again: quota that was spent is not returned."""
    async with opened(url) as first, opened(url) as second:
        ledgers = Ledger(first, clock), Ledger(second, clock)
        await ledgers[0].admit(intent(1), (DAILY,))
        hold = Hold()
        accepting = asyncio.create_task(
            first.write(lambda db: (change_state(db, "job-1", QUEUED, NOON), hold(db))[0])
        )
        await asyncio.to_thread(hold.begun.wait, 30)
        rejecting = asyncio.create_task(
            ledgers[1].change("job-1", Change(State.REJECTED, cause="test"))
        )
        await until(lambda: second.read(waiting_for_a_lock))
        hold.ended.set()
        accepted, rejected = await accepting, await rejecting

        assert accepted[1]
        assert (rejected[0].state, rejected[1]) == (State.QUEUED, False)
        assert (await ledgers[0].preview(DEMAND, (DAILY,)))[0].remaining == DAILY.max - 2


async def test_a_dispatch_that_the_closing_of_its_lease_has_waited_for_is_seen(url, clock):
    """A job whose call went out a moment before its lease ended is unknown, and not rejected."""
    async with opened(url) as first, opened(url) as second:
        slow, quick = Ledger(first, clock), Ledger(second, Clock(intent().lease_until))
        await slow.admit(intent(1, dispatch_time=None), (DAILY,))
        hold = Hold()
        dispatch = {"job_id": "job-1", "now": NOON}
        task = asyncio.create_task(
            first.write(lambda db: (db.execute(DISPATCH, dispatch).fetchone(), hold(db))[0])
        )
        await asyncio.to_thread(hold.begun.wait, 30)
        closing = asyncio.create_task(quick.close_lapsed(10))
        await until(lambda: second.read(waiting_for_a_lock))
        hold.ended.set()

        assert await task is not None
        assert [record.state for record in await closing] == [State.SUBMIT_UNKNOWN]


async def test_a_lease_that_was_closed_is_closed_once_and_lets_nothing_out_any_more(url, clock):
    """Also by a replica whose clock is behind."""
    async with opened(url) as first, opened(url) as second:
        slow = Ledger(first, clock)
        await slow.admit(intent(1, dispatch_time=None), (DAILY,))
        ahead = (Ledger(store, Clock(intent().lease_until)) for store in (first, second))
        closed = await asyncio.gather(*(ledger.close_lapsed(10) for ledger in ahead))

        assert sorted(len(records) for records in closed) == [0, 1]
        assert not await slow.dispatch("job-1")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("a = :a AND b = :b_2", "a = %(a)s AND b = %(b_2)s"),
        ("a = :a OR b = :a", "a = %(a)s OR b = %(a)s"),
        ("SELECT :a::bigint", "SELECT %(a)s::bigint"),
        ("a LIKE '50%:b' AND c % 2 = :c", "a LIKE '50%%:b' AND c %% 2 = %(c)s"),
    ],
)
def test_parameters_are_spelled_as_psycopg_wants_them(statement, expected):
    """And nothing else of a statement changes its meaning."""
    assert translated(statement) == expected
