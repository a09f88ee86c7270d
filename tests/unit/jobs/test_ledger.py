"""The ledger over a real database: who sees a job, who asks about it, and who is gone."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ims_gateway.errors import LimitExceeded, RequestIdReused
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.pages import NEWEST
from ims_gateway.jobs.record import Change
from ims_gateway.jobs.states import State
from tests.sqlite import migrated
from tests.unit.jobs.world import DAILY, DEMAND, NOON, RATE, Clock, intent, opened

QUEUED = Change(State.QUEUED, cause="accepted", upstream_job_id="u", next_poll_time=NOON)


@pytest.fixture
async def store(database_url):
    """Run a store over each kind of database."""
    async with opened(database_url) as running:
        yield running


async def test_many_callers_at_once_never_overspend(ledger):
    """Of forty that race for three, three get in, and the others are refused."""
    wishes = (ledger.admit(intent(number), (DAILY,)) for number in range(40))
    results = await asyncio.gather(*wishes, return_exceptions=True)

    assert [isinstance(result, LimitExceeded) for result in results] == [False] * 3 + [True] * 37
    assert len((await ledger.page("acme", 100)).records) == 3


async def test_two_processes_never_overspend_together(database_url, clock):
    """Two stores on one database share one count."""
    async with opened(database_url) as first, opened(database_url) as second:
        ledgers = (Ledger(first, clock), Ledger(second, clock))
        wishes = (ledgers[number % 2].admit(intent(number), (DAILY,)) for number in range(20))
        results = await asyncio.gather(*wishes, return_exceptions=True)

        assert sum(not isinstance(result, LimitExceeded) for result in results) == 3


async def test_one_request_at_once_from_many_callers_is_one_job(database_url, clock):
    """Also over two processes: one gets in, the others find its job."""
    async with opened(database_url) as first, opened(database_url) as second:
        ledgers = (Ledger(first, clock), Ledger(second, clock))
        wishes = (
            ledgers[number % 2].admit(intent(1, job_id=f"try-{number}"), (DAILY,))
            for number in range(20)
        )
        results = await asyncio.gather(*wishes)

        assert len({result.record.job_id for result in results}) == 1
        assert [result.recalled for result in results].count(False) == 1


async def test_the_time_of_an_admission_is_that_of_its_transaction(ledger, clock):
    """A caller that waited in the queue is not charged for the time before."""
    await ledger.admit(intent(1), (RATE,))
    await ledger.admit(intent(2), (RATE,))
    clock.advance(1)

    assert (await ledger.admit(intent(3), (RATE,))).limits[0].remaining == 0


async def test_recall_and_preview_look_and_do_not_touch(ledger):
    """Neither makes a job nor charges one."""
    assert await ledger.recall("acme", "request-1", b"a body") is None
    said = await ledger.preview(DEMAND, (RATE, DAILY))
    admitted = await ledger.admit(intent(1), (RATE, DAILY))

    assert admitted.limits == said
    assert await ledger.recall("acme", "request-1", b"a body") == admitted.record
    with pytest.raises(RequestIdReused):
        await ledger.recall("acme", "request-1", b"another")


async def test_a_job_is_found_by_its_own_tenant_alone(ledger):
    """Another's is not there."""
    record = (await ledger.admit(intent(1), ())).record

    assert await ledger.find("acme", "job-1") == record
    assert await ledger.find("globex", "job-1") is None
    assert await ledger.find("acme", "job-2") is None


# Few times for many jobs, so that several are made in one microsecond.
JOBS = st.lists(
    st.tuples(st.sampled_from(("acme", "globex")), st.integers(0, 5)), min_size=1, max_size=25
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(jobs=JOBS, count=st.integers(1, 7))
def test_pages_hold_every_job_of_the_tenant_once_newest_first(tmp_path, jobs, count):
    """However large a page is, and however many jobs were made at one time."""

    async def pages():
        path = tmp_path / "pages.db"
        for each in tmp_path.glob("pages.db*"):
            each.unlink()
        path.write_bytes(migrated())
        async with opened(path) as store:
            ledger = Ledger(store, Clock())
            wishes = (
                intent(number, tenant=tenant, create_time=NOON + time)
                for number, (tenant, time) in enumerate(jobs)
            )
            await asyncio.gather(*(ledger.admit(wish, ()) for wish in wishes))
            found, after = [], NEWEST
            while after is not None:
                page = await ledger.page("acme", count, after)
                assert len(page.records) <= count
                found += page.records
                after = page.end
            return found

    found = [(record.create_time, record.job_id) for record in asyncio.run(pages())]
    mine = [
        (NOON + time, f"job-{number}")
        for number, (tenant, time) in enumerate(jobs)
        if tenant == "acme"
    ]
    assert found == sorted(mine, reverse=True)


async def test_a_job_that_comes_while_pages_are_read_moves_none_of_them(ledger):
    """Positions are times, not counts."""
    for number in range(4):
        await ledger.admit(intent(number), ())
    first = await ledger.page("acme", 2)
    await ledger.admit(intent(9), ())
    second = await ledger.page("acme", 2, first.end)

    assert [record.job_id for record in (*first.records, *second.records)] == [
        "job-3",
        "job-2",
        "job-1",
        "job-0",
    ]
    assert second.end is None


async def test_a_job_that_was_never_dispatched_is_rejected_when_its_lease_lapses(ledger, clock):
    """It was surely not sent: its quota is returned, and its request id is free."""
    await ledger.admit(intent(1, dispatch_time=None), (DAILY,))
    clock.advance(50)
    (closed,) = await ledger.close_lapsed(9)

    assert (closed.state, closed.failure_code) == (State.REJECTED, "NEVER_SENT")
    assert (await ledger.preview(DEMAND, (DAILY,)))[0].remaining == 2
    assert not (await ledger.admit(intent(1, job_id="job-2"), ())).recalled


@pytest.mark.parametrize("at_once", [True, False], ids=["with the intent", "later"])
async def test_a_dispatched_job_is_unknown_when_its_lease_lapses(ledger, clock, at_once):
    """It may have been sent: its quota stays held, and its request id is taken."""
    await ledger.admit(intent(1, dispatch_time=NOON if at_once else None), (DAILY,))
    if not at_once:
        assert await ledger.dispatch("job-1")
    clock.advance(50)
    (closed,) = await ledger.close_lapsed(9)

    assert (closed.state, closed.failure_code) == (State.SUBMIT_UNKNOWN, "INTERRUPTED")
    assert (await ledger.preview(DEMAND, (DAILY,)))[0].remaining == 1
    assert (await ledger.admit(intent(1, job_id="job-2"), ())).recalled


async def test_a_lease_lapses_at_its_end_and_once(ledger, clock):
    """Not a microsecond earlier; and no more than were asked for are closed at a time."""
    for number in range(3):
        await ledger.admit(intent(number), ())
    clock.advance(49.999999)
    assert await ledger.close_lapsed(9) == []
    clock.advance(0.000001)
    closed = await ledger.close_lapsed(2) + await ledger.close_lapsed(2)

    assert sorted(record.job_id for record in closed) == ["job-0", "job-1", "job-2"]
    assert await ledger.close_lapsed(9) == []


async def test_a_settled_job_has_no_lease(ledger, clock):
    """However long ago that was."""
    await ledger.admit(intent(1), ())
    await ledger.change("job-1", QUEUED)
    clock.advance(3600)

    assert await ledger.close_lapsed(9) == []


async def test_an_intent_whose_lease_has_lapsed_is_not_dispatched(ledger, clock):
    """Whether it was closed already or is about to be."""
    await ledger.admit(intent(1, dispatch_time=None), ())
    clock.advance(50)
    assert not await ledger.dispatch("job-1")
    await ledger.close_lapsed(9)
    clock.now = NOON

    assert not await ledger.dispatch("job-1")
    assert not await ledger.dispatch("nobody")


async def test_an_answer_that_comes_after_the_lease_settles_the_job(ledger, clock):
    """The process was slow, and not gone: what it learned counts."""
    await ledger.admit(intent(1), (DAILY,))
    clock.advance(50)
    await ledger.close_lapsed(9)
    record, changed = await ledger.change("job-1", QUEUED)

    assert (changed, record.state, record.upstream_job_id) == (True, State.QUEUED, "u")
    assert (await ledger.preview(DEMAND, (DAILY,)))[0].remaining == 1
