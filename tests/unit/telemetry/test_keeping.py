"""Records on their way into the ledger: in batches, bounded, and not lost without need."""

import asyncio

import pytest
from structlog.testing import capture_logs

from ims_gateway.errors import StoreUnavailable
from ims_gateway.jobs.database import database
from ims_gateway.jobs.decisions import NEWEST, Wanted
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.store import Store
from ims_gateway.telemetry.decisions import Record
from ims_gateway.telemetry.keeping import AT_ONCE, WAITING, Keeping


def record(number, **changes):
    """Return the record of a call."""
    facts = {
        "decision_id": f"d-{number}",
        "tenant": "acme",
        "principal": "principal/farm",
        "code": "OK",
        "reason": "",
        **changes,
    }
    return Record(facts)


class Counted(Store):
    """A store that counts its writes."""

    writes = 0

    async def write(self, command, **options):
        """Write, and count."""
        self.writes += 1
        return await super().write(command, **options)


@pytest.fixture
async def store(database_url):
    """Run a store on each kind of database."""
    store = Counted(database(database_url))
    yield store
    await store.close()


@pytest.fixture
def keeping(store):
    """Keep more decisions than any test makes."""
    return Keeping(Ledger(store, lambda: 0), 100_000)


async def found(store, **wanted):
    """Return the ids of the records that are in the ledger."""
    page = await Ledger(store, lambda: 0).decisions(Wanted(**wanted), NEWEST, 5_000)
    return [each.split('"')[3] for each in page.records]


async def test_what_came_is_kept_in_one_transaction(store, keeping):
    """In its order."""
    for number in range(300):
        keeping.put(record(number))
    assert await keeping.flush()

    assert store.writes == 1
    assert await found(store) == [f"d-{number}" for number in reversed(range(300))]
    assert not await keeping.flush()
    assert store.writes == 1


async def test_a_record_that_came_twice_is_kept_as_it_came_last(store, keeping):
    """Within one batch, too."""
    keeping.put(record(1, count=1))
    keeping.put(record(1, count=2))
    await keeping.flush()
    page = await Ledger(store, lambda: 0).decisions(Wanted(), NEWEST, 10)

    assert [*page.records] == [record(1, count=2).text]


async def test_a_text_that_is_no_unicode_takes_no_other_record_along(store, keeping):
    """Half a surrogate pair, and a NUL: no database takes them."""
    keeping.put(record(1))
    keeping.put(record(2, credential="token/corp/\ud800\0"))
    await keeping.flush()

    assert await found(store) == ["d-2", "d-1"]
    assert keeping.lost == 0


@pytest.mark.parametrize(
    ("policy", "differs"),
    [
        ({"allowed": True}, False),
        ({"allowed": True, "shadow": {"allowed": True}}, False),
        ({"allowed": True, "shadow": {"allowed": False}}, True),
        ({"allowed": False, "shadow": {"allowed": True}}, True),
    ],
)
async def test_a_shadow_policy_that_differs_is_found(store, keeping, policy, differs):
    """Only where there is one, and where it says something else."""
    keeping.put(record(1, policy=policy))
    await keeping.flush()

    assert await found(store, differs=1) == (["d-1"] if differs else [])


async def test_what_does_not_fit_is_counted(keeping):
    """The queue is bounded."""
    for number in range(WAITING + 7):
        keeping.put(record(number))

    assert keeping.lost == 7


async def test_what_a_ledger_does_not_take_waits_for_the_next_time(store, keeping):
    """In its order, and before what comes later."""
    await store.close()
    for number in range(3):
        keeping.put(record(number))
    with pytest.raises(StoreUnavailable):
        await keeping.flush()
    keeping.put(record(3))

    assert keeping.lost == 0
    assert [each.facts["decision_id"] for each in keeping._queue] == ["d-0", "d-1", "d-2", "d-3"]


async def test_what_waits_is_kept_at_the_end(store, keeping):
    """In as many transactions as it takes, also where a flush was under way."""
    for number in range(AT_ONCE + 10):
        keeping.put(record(number))
    flushing = asyncio.create_task(keeping.flush())
    await asyncio.sleep(0)
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    await keeping.close()

    assert sorted(await found(store)) == sorted(f"d-{number}" for number in range(AT_ONCE + 10))


async def test_a_ledger_that_is_gone_at_the_end_stops_no_shutdown(store, keeping):
    """What is lost then is said."""
    await store.close()
    keeping.put(record(1))
    with capture_logs() as said:
        await keeping.close()
    assert [(each["event"], each["count"]) for each in said] == [("decisions not kept", 1)]


async def test_who_flushes_waits_for_the_batch_that_is_being_written(store, keeping):
    """A record that another flush has taken is in the ledger when this one returns."""
    keeping.put(record(1))
    first = asyncio.create_task(keeping.flush())
    await asyncio.sleep(0)
    assert not await keeping.flush()
    assert await found(store) == ["d-1"]
    assert await first
