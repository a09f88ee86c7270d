"""Any course of events keeps the promises; and the machine sees where a ledger does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from ims_gateway.jobs import rows
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.record import Change, JobRecord
from ims_gateway.jobs.states import State
from tests.reliability.courses import Course

CALM = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
TestCourse = Course.TestCase
TestCourse.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=CALM
)


class RejectsWhatLapsed(Ledger):
    """Takes each intent of a dead process for one that was never sent."""

    async def close_lapsed(self, count: int) -> list[JobRecord]:
        """Reject them all."""
        values = {"now": self._clock(), "count": count}
        change = Change(State.REJECTED, cause="lease lapsed")
        return await self._store.write(
            lambda db: [
                rows.change_state(db, row["job_id"], change, self._clock())[0]
                for row in db.execute(rows.LAPSED, values).fetchall()
            ]
        )


class ResendsUnknown(Ledger):
    """Takes a lost answer for a refusal, so that the request id is free again."""

    async def change(self, job_id: str, change: Change, *seen: Any, **more: Any) -> Any:
        """Reject what is unknown."""
        if change.state is State.SUBMIT_UNKNOWN:
            change = Change(State.REJECTED, cause="timed out")
        return await super().change(job_id, change, *seen, **more)


@pytest.mark.parametrize("careless", [RejectsWhatLapsed, ResendsUnknown])
def test_the_machine_sees_a_careless_ledger(careless):
    """It fails for a ledger that lets one of the rules go."""
    course = type(careless.__name__, (Course,), {"ledger_of": careless})
    chosen = settings(
        max_examples=2000,
        stateful_step_count=40,
        deadline=None,
        database=None,
        suppress_health_check=CALM,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(course, settings=chosen)
