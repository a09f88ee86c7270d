"""No limit is overspent, however many callers race for the last of it."""

from __future__ import annotations

import pytest

from tests.reliability.ledgers import LEDGERS, sqlite_file
from tests.reliability.rivals import LIMITS, MOST, race

pytestmark = pytest.mark.asyncio(loop_scope="module")
# `make reliability` has the same with 1,000.
CALLERS = 250


@pytest.mark.parametrize("database", LEDGERS)
async def test_exactly_as_many_jobs_are_submitted_as_each_limit_has(new_ledger, launcher, tmp_path):
    """From four processes, for every kind of limit; and counters are what holds add up to."""
    found = await race(launcher, tmp_path, new_ledger(tmp_path), callers=CALLERS)
    assert found.other == []
    expected = dict.fromkeys(LIMITS, MOST)
    assert found.accepted == found.admitted == expected
    assert found.refused == dict.fromkeys(LIMITS, CALLERS - MOST)
    assert found.disagreeing == []


async def test_the_race_sees_a_gateway_that_checks_first_and_writes_later(launcher, tmp_path):
    """For every kind of limit, more jobs are submitted than it has."""
    found = await race(
        launcher, tmp_path, sqlite_file(tmp_path), callers=CALLERS, variant="check, then act"
    )
    overspent = {tenant for tenant, count in found.accepted.items() if count > MOST}
    assert overspent == LIMITS.keys()
