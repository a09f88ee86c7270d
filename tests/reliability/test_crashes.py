"""A share of the crash suite; `python -m tests.reliability` is all of it."""

from __future__ import annotations

import pytest

from tests.reliability import suite
from tests.reliability.ledgers import LEDGERS, sqlite_file
from tests.reliability.naive import NAIVE

pytestmark = pytest.mark.asyncio(loop_scope="module")
KILLS = 30
NAIVE_KILLS = 30


@pytest.mark.parametrize("database", LEDGERS)
async def test_no_kill_at_any_step_makes_a_second_job_or_loses_one(
    new_ledger, launcher, tmp_path, tally
):
    """Whatever instant a gateway dies at, the books of both sides agree in the end."""
    plan = suite.briefly(tally.seed, KILLS)
    async for _ in suite.run([plan], launcher, tmp_path, new_ledger, tally):
        pass
    assert not tally.violations
    assert tally.kills.total() >= KILLS
    assert not tally.missed


@pytest.mark.parametrize("variant", NAIVE, ids=lambda variant: variant.name)
async def test_the_suite_sees_what_a_naive_gateway_does_wrong(
    variant, launcher, tmp_path, naive_tally
):
    """Each careless way to submit is found out, and for what it does."""
    plan = suite.against(variant, naive_tally.seed, NAIVE_KILLS)
    async for _ in suite.run([plan], launcher, tmp_path, sqlite_file, naive_tally):
        pass
    assert variant.faults <= {violation.kind for violation in naive_tally.violations}
