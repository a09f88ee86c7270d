"""Replicas are restarted one after the other, and no caller notices."""

from __future__ import annotations

from tests.postgres import Postgres
from tests.reliability.rolling import roll


async def test_a_rolling_restart_fails_no_call_and_loses_no_job(tmp_path, postgresql: Postgres):
    """Two rounds of it; `make reliability` makes ten."""
    outcome = await roll(tmp_path, postgresql.new_database(), rounds=2)

    assert outcome.faults == []
    assert outcome.calls["watch"] > 0
