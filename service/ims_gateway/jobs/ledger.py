"""The ledger: the single source of truth for jobs, limits and request ids.

Every method is one transaction. What it never does: call the service, or decide about policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ims_gateway.jobs import admission, rows
from ims_gateway.jobs.record import Admission, Change, Intent, JobRecord, LimitState
from ims_gateway.jobs.states import State
from ims_gateway.jobs.store import Store
from ims_gateway.quota.limits import Limit

Microseconds = Callable[[], int]
NEWEST: Final = (2**63 - 1, "")


class Ledger:
    """Jobs and quotas over a Store. `clock` gives microseconds since the epoch."""

    def __init__(self, store: Store, clock: Microseconds) -> None:
        self._store = store
        self._clock = clock

    async def admit(self, intent: Intent, limits: Sequence[Limit]) -> Admission:
        """Recall the request, or take what it needs of every limit and record the intent.

        Raises RequestIdReused, RateExceeded, QuotaExceeded, StoreUnavailable.
        """
        return await self._store.write(
            lambda db: admission.admit(db, intent, limits, self._clock())
        )

    async def recall(self, tenant: str, request_id: str, body_hash: bytes) -> JobRecord | None:
        """Return the job that the request id has. Raises RequestIdReused, StoreUnavailable."""
        return await self._store.read(
            lambda db: admission.recall(db, tenant, request_id, body_hash)
        )

    async def preview(self, tenant: str, limits: Sequence[Limit]) -> tuple[LimitState, ...]:
        """Return each limit as one more job would leave it. Nothing is written."""
        return await self._store.read(
            lambda db: admission.preview(db, tenant, limits, self._clock())
        )

    async def change(self, job_id: str, change: Change) -> tuple[JobRecord, bool]:
        """Change a job's state where that is allowed; say whether it changed."""
        return await self._store.write(
            lambda db: rows.change_state(db, job_id, change, self._clock())
        )

    async def dispatch(self, job_id: str) -> bool:
        """Note that the job's call is about to go out.

        Says no where the intent's lease has lapsed: it is closed, or about to be, and must not be
        sent any more.
        """
        values = {"job_id": job_id, "now": self._clock()}
        return await self._store.write(
            lambda db: db.execute(rows.DISPATCH, values).fetchone() is not None
        )

    async def find(self, tenant: str, job_id: str) -> JobRecord | None:
        """Return the tenant's job of that id; another tenant's is not found."""
        record = await self._store.read(lambda db: rows.find_job(db, job_id))
        return record if record is not None and record.tenant == tenant else None

    async def page(
        self, tenant: str, count: int, after: tuple[int, str] = NEWEST
    ) -> list[JobRecord]:
        """Return jobs, newest first, that come after the position (create_time, job_id)."""
        values = {"tenant": tenant, "count": count, "create_time": after[0], "job_id": after[1]}
        return await self._store.read(
            lambda db: [rows.record_of(row) for row in db.execute(rows.PAGE, values)]
        )

    async def claim_due(self, count: int, claim_microseconds: int) -> list[JobRecord]:
        """Take open jobs that are due for a query; nobody else gets them until the claim ends."""
        now = self._clock()
        values = {"now": now, "claimed_until": now + claim_microseconds, "count": count}
        return await self._store.write(
            lambda db: [rows.record_of(row) for row in db.execute(rows.CLAIM_DUE, values)]
        )

    async def poll_at(self, job_id: str, time: int) -> None:
        """Set when the job is due for its next query."""
        await self._store.write(
            lambda db: db.execute(rows.SET_POLL, {"job_id": job_id, "time": time})
        )

    async def close_lapsed(self, count: int) -> list[JobRecord]:
        """Close intents whose process is gone.

        One that was never dispatched was never sent: it is rejected, and its quota returned. Every
        other may have been sent: it is UNKNOWN.
        """
        now = self._clock()
        return await self._store.write(
            lambda db: [
                rows.change_state(db, row["job_id"], _lapsed(row["dispatch_time"]), now)[0]
                for row in db.execute(rows.LAPSED, {"now": now, "count": count}).fetchall()
            ]
        )


def _lapsed(dispatch_time: int | None) -> Change:
    if dispatch_time is None:
        return Change(State.REJECTED, cause="lease lapsed, never sent", failure_code="NEVER_SENT")
    return Change(State.SUBMIT_UNKNOWN, cause="lease lapsed", failure_code="INTERRUPTED")
