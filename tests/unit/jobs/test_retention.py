"""The purge: what ended long ago goes, with all that is about it; what it used stays."""

import asyncio
from contextlib import AsyncExitStack, nullcontext
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from structlog.testing import capture_logs

from ims_gateway.errors import LimitExceeded, StoreUnavailable
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.purge import purge_ended
from ims_gateway.jobs.record import Change
from ims_gateway.jobs.retention import BATCH, Retention
from ims_gateway.jobs.schema import metadata
from ims_gateway.jobs.states import TERMINAL, TRANSITIONS, State
from ims_gateway.quota.limits import CountLimit
from ims_gateway.settings import Settings
from tests.integration.world import until
from tests.unit.jobs.world import NOON, SECOND, emptied, intent, opened

DAY = 86_400 * SECOND
TODAY = ("acme", "daily", "day:2026-06-01")
DAILY = CountLimit("daily", max=1_000, time_zone="UTC")
ENDINGS = {
    State.SUCCEEDED: (State.QUEUED, State.RUNNING, State.SUCCEEDED),
    State.FAILED: (State.QUEUED, State.FAILED),
    State.CANCELLED: (State.QUEUED, State.CANCELLING, State.CANCELLED),
    State.REJECTED: (State.REJECTED,),
    State.SUBMITTING: (),
    State.SUBMIT_UNKNOWN: (State.SUBMIT_UNKNOWN,),
    State.QUEUED: (State.QUEUED,),
    State.RUNNING: (State.QUEUED, State.RUNNING),
    State.CANCELLING: (State.QUEUED, State.CANCELLING),
}


def purged(ledger, before, most=BATCH):
    """Purge as the store does: in one transaction."""
    with ledger.transaction() as db:
        return purge_ended(db, before, most)


def explained(ledger):
    """Return what each limit's holds and totals add up to, where that is not nothing."""
    query = """SELECT tenant, limit_id, period, SUM(used) FROM (
                   SELECT tenant, limit_id, period, used FROM totals
                   UNION ALL SELECT tenant, limit_id, period, amount FROM holds
                   WHERE state <> 'released') AS parts
               GROUP BY tenant, limit_id, period"""
    return {row[:3]: row[3] for row in ledger.all(query) if row[3]}


def counted(ledger):
    """Return what the counters say, where that is not nothing."""
    return {key: used for key, used in ledger.used().items() if used}


@pytest.mark.parametrize("state", ENDINGS, ids=lambda state: state.name)
def test_only_what_has_ended_is_ever_purged(ledger_rows, state):
    """An unknown outcome is for an operator to find out, after however many years."""
    ledger_rows.admit(intent(0), DAILY)
    for each in ENDINGS[state]:
        assert ledger_rows.change("job-0", each)[1]
    gone = purged(ledger_rows, NOON + 3_650 * DAY)
    assert gone == (1 if state in TERMINAL else 0)
    assert len(ledger_rows.all("SELECT job_id FROM jobs")) == 1 - gone


def test_nothing_that_is_about_a_purged_job_stays(ledger_rows):
    """Of every table that knows jobs; the rows of another job stay."""
    for number in (1, 2):
        ledger_rows.admit(intent(number, labels=(("team", "x"),)), DAILY)
        ledger_rows.change(f"job-{number}", State.QUEUED)
    ledger_rows.change("job-1", State.SUCCEEDED)
    assert purged(ledger_rows, NOON) == 1
    about_jobs = [table.name for table in metadata.tables.values() if "job_id" in table.columns]
    assert {"jobs", "transitions", "holds", "labels"} <= set(about_jobs)
    for table in about_jobs:
        query = f"SELECT job_id FROM {table}"  # noqa: S608 - the schema's own name
        assert set(ledger_rows.all(query)) == {("job-2",)}, table


@pytest.mark.parametrize("state", sorted(TERMINAL), ids=lambda state: state.name)
def test_what_a_purged_job_used_stays_used(ledger_rows, state):
    """The limit has no more room than before, and the totals say why."""
    ledger_rows.admit(intent(0), DAILY)
    for each in ENDINGS[state]:
        ledger_rows.change("job-0", each)
    before = counted(ledger_rows)
    assert purged(ledger_rows, NOON) == 1
    assert counted(ledger_rows) == before == ({} if state is State.REJECTED else {TODAY: 1})
    assert explained(ledger_rows) == before


def test_a_job_is_purged_at_its_age_and_the_oldest_first(ledger_rows):
    """In batches; what is younger stays."""
    for number in range(5):
        ledger_rows.admit(intent(number), DAILY)
        ledger_rows.change(f"job-{number}", State.QUEUED)
    for number in (3, 0, 4, 1, 2):
        ledger_rows.clock.advance(1)
        ledger_rows.change(f"job-{number}", State.SUCCEEDED)
    assert purged(ledger_rows, NOON + SECOND - 1) == 0
    assert purged(ledger_rows, NOON + 4 * SECOND, most=3) == 3
    assert ledger_rows.all("SELECT job_id FROM jobs ORDER BY job_id") == [("job-1",), ("job-2",)]
    assert purged(ledger_rows, NOON + 4 * SECOND, most=3) == 1
    assert ledger_rows.all("SELECT job_id FROM jobs") == [("job-2",)]


def test_request_id_of_a_purged_job_is_free(ledger_rows):
    """So retention has to be longer than anybody repeats a call, as the setting says."""
    first = ledger_rows.admit(intent(0), DAILY)
    again = intent(1, request_id="request-0")
    assert ledger_rows.admit(again, DAILY).record == first.record
    for state in ENDINGS[State.SUCCEEDED]:
        ledger_rows.change("job-0", state)
    purged(ledger_rows, NOON)
    assert not ledger_rows.admit(again, DAILY).recalled


STEPS = st.one_of(
    st.tuples(st.just("admit"), st.sampled_from(("acme", "globex")), st.booleans()),
    st.tuples(st.just("change"), st.integers(0, 11), st.sampled_from(State)),
    st.tuples(st.just("wait"), st.integers(1, 40), st.none()),
    st.tuples(st.just("purge"), st.integers(1, 4), st.none()),
)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(STEPS, max_size=40))
def test_counters_are_always_what_holds_and_totals_explain(ledger_rows, steps):
    """Whatever is admitted, settled, resolved and purged, in whatever order, over months."""
    emptied(ledger_rows)
    states, numbers = {}, count()
    for kind, what, more in steps:
        if kind == "admit":
            number = next(numbers)
            limits = (DAILY, CountLimit("few", max=3, time_zone="Asia/Shanghai"))
            if _admitted(ledger_rows, intent(number, tenant=what), limits[: 1 + more]):
                states[f"job-{number}"] = State.SUBMITTING
        elif kind == "change" and (job_id := f"job-{what}") in states:
            if more in TRANSITIONS[states[job_id]]:
                ledger_rows.change(job_id, more)
                states[job_id] = more
        elif kind == "wait":
            ledger_rows.clock.advance(what * 3_600)
        elif kind == "purge":
            purged(ledger_rows, ledger_rows.clock.now - DAY, most=what)
            left = {row[0] for row in ledger_rows.all("SELECT job_id FROM jobs")}
            gone = states.keys() - left
            assert {states.pop(job_id) for job_id in gone} <= TERMINAL
        assert explained(ledger_rows) == counted(ledger_rows)


def _admitted(ledger, wish, limits):
    try:
        ledger.admit(wish, *limits)
    except LimitExceeded:
        return False
    return True


async def ended_jobs(ledger, number_of_jobs):
    """Make jobs that have ended."""
    for number in range(number_of_jobs):
        await ledger.admit(intent(number), (DAILY,))
        for state in ENDINGS[State.FAILED]:
            await ledger.change(f"job-{number}", Change(state, cause="test"))


async def test_two_processes_that_purge_at_once_count_nothing_twice(database_url, clock):
    """Each job is folded into the totals by the one that deletes it."""
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(database_url)) for _ in range(2)]
        ledgers = [Ledger(store, clock) for store in stores]
        await ended_jobs(ledgers[0], 30)
        purges = (ledgers[number % 2].purge(0, 4) for number in range(10))
        assert sum(await asyncio.gather(*purges)) == 30
        used = "SELECT used FROM totals UNION ALL SELECT used FROM counters"
        rows = await stores[0].read(lambda db: db.execute(used).fetchall())
        assert [row["used"] for row in rows] == [30, 30]


async def test_retention_purges_all_that_is_due_in_batches(store, ledger, clock):
    """Until nothing is left that is old enough."""
    await ended_jobs(ledger, BATCH + 5)
    clock.advance(30 * 86_400)
    await ledger.admit(intent(999), ())
    await ledger.change("job-999", Change(State.REJECTED, cause="test"))
    running = asyncio.create_task(Retention(ledger, 30 * 86_400).run())

    async def only_the_last():
        rows = await store.read(lambda db: db.execute("SELECT job_id FROM jobs").fetchall())
        return [row["job_id"] for row in rows] == ["job-999"]

    await until(only_the_last)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("a bug")])
async def test_no_failure_ends_retention(error):
    """It says so and looks again later."""

    class AwayLedger:
        async def purge(self, _age, _count):
            raise error

    with capture_logs() as lines:
        running = asyncio.create_task(Retention(AwayLedger(), 86_400).run())
        await until(lambda: lines)
        assert not running.done()
        running.cancel()
    assert lines[0]["log_level"] in ("warning", "error")
    assert lines[0]["event"].startswith("purge")


@pytest.mark.parametrize(("days", "taken"), [(0, True), (1, True), (0.5, False), (-1, False)])
def test_retention_is_none_or_at_least_a_day(tmp_path, days, taken):
    """Less would forget request ids that callers still repeat."""
    refusal = nullcontext() if taken else pytest.raises(ValidationError, match="retention_days")
    with refusal:
        Settings(config_dir=tmp_path, key_pepper="p" * 32, retention_days=days)
