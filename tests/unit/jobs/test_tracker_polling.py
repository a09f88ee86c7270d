"""Claims and budgets in the ledger: what several processes agree on."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.pace import Budget
from ims_gateway.jobs.polling import CLAIM_MICROSECONDS
from ims_gateway.jobs.record import Change
from ims_gateway.jobs.states import State
from tests.unit.jobs.world import NOON, SECOND, intent, opened

PLENTY = Budget(1_000)
CLAIM_SECONDS = CLAIM_MICROSECONDS / SECOND


@pytest.fixture
async def store(database_url):
    """Run a store over each kind of database."""
    async with opened(database_url) as running:
        yield running


@pytest.fixture
async def replicas(database_url, clock):
    """Return the ledgers of two processes over one database."""
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(database_url)) for _ in range(2)]
        yield [Ledger(store, clock) for store in stores]


async def open_jobs(ledger, count, due=NOON, **members):
    """Make jobs that the service has taken, due one after the other."""
    for number in range(count):
        await ledger.admit(intent(number, **members), ())
        change = Change(State.QUEUED, cause="test", next_poll_time=due + number)
        await ledger.change(f"job-{number}", change)


async def claim(ledger, most=9, *, poller="a", account="main", budget=PLENTY):
    """Claim as one process, and return the jobs' ids in the order of their numbers."""
    claimed = await ledger.claim_due(account=account, budget=budget, most=most, poller=poller)
    return sorted(record.job_id for record in claimed)


async def due(ledger, clock):
    """Return in how many seconds each job is due."""
    query = "SELECT job_id, next_poll_time FROM jobs WHERE next_poll_time IS NOT NULL"
    rows = await ledger._store.read(lambda db: db.execute(query).fetchall())
    return {row["job_id"]: (row["next_poll_time"] - clock.now) / SECOND for row in rows}


async def test_a_due_job_is_given_to_one_process(replicas, clock):
    """Of two that ask at once, each gets others, and together they get all."""
    await open_jobs(replicas[0], 20)
    clock.advance(1)
    claims = (claim(replicas[number % 2], 3, poller=str(number % 2)) for number in range(10))
    claimed = [job_id for each in await asyncio.gather(*claims) for job_id in each]
    assert sorted(claimed) == sorted(f"job-{number}" for number in range(20))


async def test_the_claim_of_a_dead_process_ends(replicas, clock):
    """Another one takes the job over, not a moment before."""
    await open_jobs(replicas[0], 1)
    assert await claim(replicas[0], poller="dead") == ["job-0"]
    clock.advance(CLAIM_SECONDS - 0.000001)
    assert await claim(replicas[1], poller="alive") == []
    clock.advance(0.000001)
    assert await claim(replicas[1], poller="alive") == ["job-0"]


async def test_a_claim_that_was_taken_over_is_not_given_back_by_its_first_owner(ledger, clock):
    """A process that stood still for a while does not undo what another does."""
    await open_jobs(ledger, 1)
    await claim(ledger, poller="slow")
    clock.advance(CLAIM_SECONDS)
    await claim(ledger, poller="quick")
    await ledger.put_off("job-0", "slow", clock.now)
    await ledger.release_claims("slow", ["main"])
    assert await claim(ledger, poller="third") == []
    await ledger.put_off("job-0", "quick", clock.now)
    assert await claim(ledger, poller="third") == ["job-0"]


async def test_a_process_that_stops_gives_its_claims_back_at_once(replicas, clock):
    """Of all its accounts, and nobody else's."""
    await open_jobs(replicas[0], 3)
    clock.advance(1)
    assert await claim(replicas[0], 2, poller="a") == ["job-0", "job-1"]
    assert await claim(replicas[1], 1, poller="b") == ["job-2"]
    await replicas[0].release_claims("a", ["other", "main"])
    assert await claim(replicas[1], poller="b") == ["job-0", "job-1"]


async def test_the_job_that_has_waited_longest_is_claimed_first(ledger, clock):
    """So none is forgotten while others are many."""
    for number, seconds in enumerate((5, 3, 1, 2, 4)):
        await ledger.admit(intent(number), ())
        change = Change(State.QUEUED, cause="test", next_poll_time=NOON + seconds * SECOND)
        await ledger.change(f"job-{number}", change)
    clock.advance(10)
    claimed = [(await claim(ledger, 1))[0] for _ in range(5)]
    assert claimed == ["job-2", "job-3", "job-1", "job-4", "job-0"]


async def test_a_starving_job_has_its_turn(ledger, clock):
    """With a budget for one poll a second and more jobs than that, each is asked about in turn."""
    await open_jobs(ledger, 4)
    turns = []
    for _ in range(12):
        clock.advance(1)
        (job_id,) = await claim(ledger, budget=Budget(1))
        turns.append(job_id)
        await ledger.put_off(job_id, "a", clock.now + SECOND)
    assert turns == [f"job-{number}" for number in range(4)] * 3


@pytest.mark.parametrize(
    "states",
    [
        (),
        (State.REJECTED,),
        (State.SUBMIT_UNKNOWN,),
        (State.QUEUED, State.SUCCEEDED),
        (State.QUEUED, State.CANCELLING, State.CANCELLED),
    ],
    ids=str,
)
async def test_only_open_jobs_are_claimed(ledger, clock, states):
    """Nothing that happens to another one makes it due: no watch, no late answer."""
    await ledger.admit(intent(1), ())
    for state in states:
        await ledger.change("job-1", Change(state, cause="test", next_poll_time=NOON))
    await ledger.hasten(["job-1"], NOON)
    await ledger.put_off("job-1", "a", NOON)
    clock.advance(3600)
    assert await ledger.accounts_due(["main"]) == []
    assert await claim(ledger) == []


async def test_the_budget_of_an_account_is_one_for_all_processes(replicas, clock):
    """Ten polls a second are ten, also when two processes make them; other accounts have theirs."""
    await open_jobs(replicas[0], 30)
    await replicas[0].admit(intent(99, account="other"), ())
    await replicas[0].change("job-99", Change(State.QUEUED, cause="test", next_poll_time=NOON))
    clock.advance(1)

    async def both():
        claims = (claim(each, 9, poller=str(id(each)), budget=Budget(10)) for each in replicas)
        return sum(map(len, await asyncio.gather(*claims)))

    assert await both() == 10
    assert await both() == 0
    assert await claim(replicas[0], account="other", budget=Budget(10)) == ["job-99"]
    clock.advance(0.5)
    assert await both() == 5
    clock.advance(100)
    assert await both() == 10


async def test_what_is_not_claimed_is_not_spent(ledger, clock):
    """An idle account has its whole budget."""
    await open_jobs(ledger, 3, due=NOON + SECOND)
    assert await claim(ledger, budget=Budget(3)) == []
    clock.advance(2)
    assert len(await claim(ledger, budget=Budget(3))) == 3


async def test_a_pause_holds_for_all_processes_and_the_longest_counts(replicas, clock):
    """The jobs stay due and are claimed when it ends, and no other account pauses."""
    await open_jobs(replicas[0], 1)
    await replicas[0].pause_polls("main", NOON + 20 * SECOND)
    await replicas[1].pause_polls("main", NOON + 5 * SECOND)
    await replicas[1].pause_polls("other", NOON + 60 * SECOND)
    clock.advance(19.999999)
    assert await replicas[1].accounts_due(["main", "other"]) == []
    assert await claim(replicas[1]) == []
    clock.advance(0.000001)
    assert await replicas[1].accounts_due(["main", "other"]) == ["main"]
    assert await claim(replicas[1]) == ["job-0"]


async def test_a_pause_from_the_future_is_not_believed(ledger):
    """It was written before the clock stepped back by a day."""
    await open_jobs(ledger, 1)
    await ledger.pause_polls("main", NOON + 86_400 * SECOND)
    assert await ledger.accounts_due(["main"]) == ["main"]
    assert await claim(ledger) == ["job-0"]


async def test_a_hastened_job_is_due_sooner_and_never_later(replicas, clock):
    """However often it is hastened, wherever, and together with which others."""
    await open_jobs(replicas[0], 3, due=NOON + 50 * SECOND)
    await claim(replicas[0])
    for seconds in (9, 3, 5):
        for replica in replicas:
            await replica.hasten(["job-2", "job-0", "none"], clock.now + seconds * SECOND)
    expected = {"job-0": 3, "job-1": 50, "job-2": 3}
    assert await due(replicas[0], clock) == pytest.approx(expected, abs=0.01)


async def test_hastening_leaves_a_claim_alone(replicas, clock):
    """The process that has it asks already; nobody else asks at the same time."""
    await open_jobs(replicas[0], 1)
    await claim(replicas[0])
    await replicas[1].hasten(["job-0"], NOON)
    assert await claim(replicas[1], poller="b") == []
    await replicas[0].put_off("job-0", "a", NOON + 40 * SECOND)
    await replicas[1].hasten(["job-0"], NOON + 2 * SECOND)
    assert (await due(replicas[0], clock)) == {"job-0": 2}


async def test_overdue_job_is_not_hastened(ledger, clock):
    """It has the slowest pace, watched or not."""
    await open_jobs(ledger, 1, due=NOON + 50 * SECOND)
    await ledger.note_overdue("job-0")
    await ledger.hasten(["job-0"], NOON)
    assert (await due(ledger, clock)) == {"job-0": 50}


async def test_a_change_gives_the_claim_back(ledger, clock):
    """With its own time for the next query."""
    await open_jobs(ledger, 1)
    await claim(ledger)
    change = Change(State.RUNNING, cause="test", next_poll_time=NOON + 9 * SECOND)
    assert (await ledger.change("job-0", change, State.QUEUED))[1]
    assert await due(ledger, clock) == {"job-0": 9}
    await ledger.hasten(["job-0"], NOON + SECOND)
    clock.advance(1)
    assert await claim(ledger, poller="b") == ["job-0"]


async def test_what_was_said_of_another_state_changes_nothing(ledger, clock):
    """A failure that was seen before the cancellation must not end a job as failed."""
    await open_jobs(ledger, 1)
    await claim(ledger)
    cancelling = Change(State.CANCELLING, cause="by a caller", next_poll_time=clock.now)
    await ledger.change("job-0", cancelling)
    record, changed = await ledger.change("job-0", Change(State.FAILED, cause="x"), State.QUEUED)
    assert (record.state, changed) == (State.CANCELLING, False)
    assert await claim(ledger, poller="b") == ["job-0"]


async def test_only_the_first_to_see_that_a_job_is_overdue_notes_it(replicas):
    """So it is told once, also with many processes and after restarts."""
    await open_jobs(replicas[0], 1)
    noted = await asyncio.gather(*(replica.note_overdue("job-0") for replica in replicas * 5))
    assert sorted(noted) == [False] * 9 + [True]


async def test_backlog_counts_the_open_jobs_of_each_account(ledger):
    """Also of accounts that nobody asks for any more."""
    await open_jobs(ledger, 2)
    await ledger.admit(intent(7, account="gone"), ())
    await ledger.change("job-7", Change(State.QUEUED, cause="test", next_poll_time=NOON))
    await ledger.change("job-0", Change(State.FAILED, cause="test"))
    assert await ledger.backlog() == {"main": 1, "gone": 1}
