"""Writes down what came of a submit, however long the ledger keeps us waiting.

Decides how long that is. What it never does: say what an answer means (`settlement.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from ims_gateway import settlement
from ims_gateway.errors import StoreUnavailable, SubmitOutcomeUnknown
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.record import Change, Intent, JobRecord
from ims_gateway.quota.prices import PriceList
from ims_gateway.settlement import Outcome
from ims_gateway.telemetry import conventions
from ims_gateway.telemetry.call import Call
from ims_gateway.telemetry.measures import SubmitMeasures

# A settlement is worth a job's price, so the ledger gets a minute to come back.
PAUSES_SECONDS: Final = (0.1, 0.5, 1.0, *(2.0,) * 30)

log = structlog.get_logger()


class Settling:
    """Settles submits. `prices` gives the list in force."""

    def __init__(
        self, ledger: Ledger, measures: SubmitMeasures, prices: Callable[[], PriceList]
    ) -> None:
        self._ledger = ledger
        self._measures = measures
        self._prices = prices

    async def settle(
        self, call: Call, intent: Intent, change: Change, outcome: Outcome
    ) -> JobRecord:
        """Change the job, and return it as the ledger has it then.

        Raises SubmitOutcomeUnknown where the ledger stays away: the intent's lease will close the
        job.
        """
        with call.step("settle") as span:
            for pause_seconds in PAUSES_SECONDS:
                try:
                    record, changed = await self._ledger.change(
                        intent.job_id, change, tenant=intent.tenant
                    )
                except StoreUnavailable:
                    await asyncio.sleep(pause_seconds)
                    continue
                call.quota = settlement.holds_in(record.state)
                span.set_attributes(
                    {
                        conventions.JOB: record.name,
                        conventions.JOB_STATE: record.state.name,
                        conventions.QUOTA_OUTCOME: call.quota,
                    }
                )
                settled = change.state is record.state
                self._count(intent, outcome if settled else Outcome.UNKNOWN)
                if not changed and not settled:
                    log.error(
                        "settled too late",
                        job=call.job,
                        state=record.state.name,
                        upstream_job_id=change.upstream_job_id,
                    )
                return record
        self._count(intent, Outcome.UNKNOWN)
        # The one trace of an accepted job that the ledger could not take: an operator needs it.
        log.error("not settled", job=call.job, upstream_job_id=change.upstream_job_id)
        raise SubmitOutcomeUnknown(call.job)

    def _count(self, intent: Intent, outcome: Outcome) -> None:
        self._measures.settled(intent, outcome, self._prices().currency)
