"""Several processes on one ledger: what they share is right, whichever of them does it."""

import asyncio
import json
import sys

from ims_gateway.errors import LimitExceeded, StoreUnavailable
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.migrate import upgrade
from ims_gateway.quota.limits import CountLimit
from tests.unit.jobs.world import intent, opened

PROCESSES = 4
REQUESTS = 120
LIMIT = CountLimit("daily", max=50, time_zone="UTC")


async def race(url, number):
    """Open the ledger as a gateway does, then submit all requests, as every other process does."""
    upgrade(url)
    async with opened(url, 30) as store:
        ledger = Ledger(store, lambda: intent().create_time)
        wishes = [
            ledger.admit(intent(request, job_id=f"job-{request}-of-{number}"), (LIMIT,))
            for request in range(REQUESTS)
        ]
        results = await asyncio.gather(*wishes, return_exceptions=True)
    new = sum(not isinstance(each, Exception) and not each.recalled for each in results)
    refused = sum(isinstance(each, LimitExceeded) for each in results)
    failed = [repr(each) for each in results if isinstance(each, StoreUnavailable)]
    return {"new": new, "refused": refused, "failed": failed}


async def test_processes_share_limits_and_request_ids(database_url):
    """Every request is one job, and no more of them get in than the limit has."""
    program = (
        "import asyncio, json; from tests.unit.jobs.test_store_processes import race; "
        "print(json.dumps(asyncio.run(race({!r}, {}))))"
    )
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program.format(database_url, number),
            stdout=asyncio.subprocess.PIPE,
        )
        for number in range(PROCESSES)
    ]
    said = [json.loads((await child.communicate())[0]) for child in children]
    async with opened(database_url) as store:
        used = await store.read(lambda db: db.execute("SELECT used FROM counters").fetchone())
        jobs = await store.read(lambda db: db.execute("SELECT request_id FROM jobs").fetchall())

    assert [each["failed"] for each in said] == [[]] * PROCESSES
    assert sum(each["new"] for each in said) == used["used"] == LIMIT.max
    assert len({row["request_id"] for row in jobs}) == len(jobs) == LIMIT.max
    assert {each["refused"] for each in said} == {REQUESTS - LIMIT.max}


async def test_processes_that_start_at_once_on_a_new_ledger_share_it(tmp_path, postgresql):
    """One makes the schema, the others wait for it, and all of them serve."""
    for url in (f"sqlite:///{tmp_path / 'new.db'}", postgresql.new_database(migrated=False)):
        await test_processes_share_limits_and_request_ids(url)
