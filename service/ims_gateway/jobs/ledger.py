"""The ledger: the single source of truth for jobs, limits and request ids.

Every method is one transaction. What it never does: call the service, or decide about policy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from ims_gateway.errors import RateExceeded
from ims_gateway.jobs import admission as admitting
from ims_gateway.jobs import (
    adoption,
    census,
    course,
    decisions,
    news,
    pages,
    polling,
    purge,
    rows,
    shares,
    standing,
    usage,
)
from ims_gateway.jobs.filters import Filter
from ims_gateway.jobs.news import Mark
from ims_gateway.jobs.pace import Budget
from ims_gateway.jobs.record import Admission, Change, Intent, JobRecord
from ims_gateway.jobs.shares import Holding, Share, Whole
from ims_gateway.jobs.states import State
from ims_gateway.jobs.store import Store
from ims_gateway.jobs.usage import History
from ims_gateway.quota.charges import Charge, LimitState
from ims_gateway.quota.limits import Demand, Limit
from ims_gateway.quota.refusals import Refusals
from ims_gateway.quota.windows import Window

Microseconds = Callable[[], int]


class Ledger:
    """Jobs and quotas over a Store. `clock` gives microseconds since the epoch."""

    def __init__(self, store: Store, clock: Microseconds) -> None:
        self._store = store
        self._clock = clock
        self._refusals = Refusals()

    async def admit(self, intent: Intent, limits: Sequence[Limit]) -> Admission:
        """Recall the request, or take what it needs of every limit and record the intent.

        A rate that was found full is refused from memory until it has room again. Raises
        RequestIdReused, RateExceeded, QuotaExceeded, StoreUnavailable.
        """
        self._refusals.check(intent.demand, limits, intent.request_id, self._clock())
        try:
            admission = await self._store.write(
                lambda db: admitting.admit(db, intent, limits, self._clock(), self._store.time_sql),
                lock=intent.tenant,
                undo=lambda db: admitting.withdraw(db, intent, self._clock()),
            )
        except RateExceeded as refusal:
            self._refusals.note(intent.demand, limits, refusal)
            raise
        except BaseException:
            self._refusals.forget(intent.demand, limits)
            raise
        if admission.recalled:
            self._refusals.forget(intent.demand, limits)
        self._refusals.know(intent.tenant, intent.request_id)
        return admission

    async def recall(self, tenant: str, request_id: str, body_hash: bytes) -> JobRecord | None:
        """Return the job that the request id has. Raises RequestIdReused, StoreUnavailable."""
        return await self._store.read(
            lambda db: admitting.recall(db, tenant, request_id, body_hash)
        )

    async def preview(self, demand: Demand, limits: Sequence[Limit]) -> tuple[LimitState, ...]:
        """Return each limit as one more job would leave it; a breached one has -1 left.

        Nothing is taken. Raises StoreUnavailable.
        """
        charges, known = await self._charges(demand, limits)
        if known != standing.definitions_of(limits):
            await self._refresh(demand.tenant, limits)
            charges, _ = await self._charges(demand, limits)
        return tuple(charge.state for charge in charges)

    async def usage(self, tenant: str, limits: Sequence[Limit]) -> tuple[LimitState, ...]:
        """Return what is used of each limit, in each of its counts that has been asked.

        Raises StoreUnavailable.
        """
        found = await self._usage(tenant, limits)
        if found is None:
            await self._refresh(tenant, limits)
            found = await self._usage(tenant, limits)
        return found or ()

    async def history(self, tenant: str, days: Sequence[Window]) -> History:
        """Return what was used in each window, by algorithm. Raises StoreUnavailable."""
        return await self._store.read(lambda db: usage.history(db, tenant, days))

    async def change(
        self,
        job_id: str,
        change: Change,
        seen: State | None = None,
        *,
        tenant: str | None = None,
    ) -> tuple[JobRecord, bool]:
        """Change a job's state where that is allowed; say whether it changed.

        Given the state that was `seen`, it changes only where it still is in that one. A change
        that returns quota (a rejection, or an end) names the `tenant`: processes that change the
        counters of several tenants in one transaction would wait for each other.
        """
        return await self._store.write(
            lambda db: rows.change_state(db, job_id, change, self._clock(), seen), lock=tenant
        )

    async def resolve(self, record: JobRecord, change: Change) -> tuple[JobRecord, bool]:
        """Change a job whose outcome was unknown; say whether it changed.

        Raises JobStateConflict where the upstream job is another job's already.
        """
        return await self._store.write(
            lambda db: rows.resolve_job(db, record.job_id, change, self._clock()),
            # One upstream job for one job; or else quota is returned, as in `change`.
            lock=change.upstream_job_id or record.tenant,
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

    async def course(self, job_id: str) -> course.Course:
        """Return the states that a job came to, and the times beside them."""
        return await self._store.read(lambda db: course.read(db, job_id))

    async def page(
        self,
        tenant: str,
        count: int,
        after: pages.Position = pages.NEWEST,
        wanted: Filter = pages.EVERYTHING,
    ) -> pages.Page:
        """Return at most `count` jobs that fit the filter, newest first, after the position."""
        return await self._store.read(lambda db: pages.read(db, tenant, wanted, after, count))

    async def news(self, seen: Mapping[str, Collection[Mark]]) -> dict[str, JobRecord | None]:
        """Return the jobs that are not in one of the states seen; None for those that are gone."""
        return await self._store.read(lambda db: news.news(db, seen))

    async def hasten(self, job_ids: Sequence[str], soon: int) -> None:
        """Have these jobs asked about at the given time, if that would be later."""
        await self._store.write(lambda db: polling.hasten(db, job_ids, soon))

    async def accounts_due(self, accounts: Iterable[str]) -> list[str]:
        """Return the accounts that have jobs to be asked about, and do not pause."""
        return await self._store.read(lambda db: polling.accounts_due(db, accounts, self._clock()))

    async def claim_due(
        self, *, account: str, budget: Budget, most: int, poller: str
    ) -> list[JobRecord]:
        """Claim the jobs of an account that are due for longest, as far as its budget goes.

        Nobody but the `poller` asks about them until the claim ends.
        """
        return await self._store.write(
            lambda db: polling.claim(
                db, self._clock(), account=account, budget=budget, most=most, poller=poller
            )
        )

    async def put_off(self, job_id: str, poller: str, time: int) -> None:
        """Give a claim back: the job is due at the given time."""
        await self._store.write(lambda db: polling.put_off(db, job_id, poller, time))

    async def pause_polls(self, account: str, until: int) -> None:
        """Let no process poll for the account until the given time."""
        await self._store.write(lambda db: polling.pause(db, account, until))

    async def note_overdue(self, job_id: str) -> bool:
        """Note that the job is overdue; say whether nobody had noted it before."""
        return await self._store.write(lambda db: polling.note_overdue(db, job_id, self._clock()))

    async def release_claims(self, poller: str, accounts: Iterable[str]) -> None:
        """Give all claims of a process back, due at once."""
        await self._store.write(lambda db: polling.release(db, poller, accounts, self._clock()))

    async def call_back(self, accounts: Iterable[str]) -> None:
        """Have jobs be due at once that a wrong clock has put off into a far future."""
        await self._store.write(lambda db: polling.call_back(db, accounts, self._clock()))

    async def renew_shares(self, holdings: Sequence[tuple[Whole, Holding]]) -> list[Share | None]:
        """Renew what a process holds of its accounts, and return its share of each.

        None where another process has come to its seat.
        """
        return await self._store.write(
            lambda db: [
                shares.renew(db, whole, holding, self._clock()) for whole, holding in holdings
            ],
            lock=shares.LOCK,
        )

    async def drop_shares(self, accounts: Iterable[str], seat: str, life: str) -> None:
        """Give back all that a process holds of the accounts."""
        await self._store.write(lambda db: shares.drop(db, accounts, seat, life), lock=shares.LOCK)

    async def backlog(self) -> dict[str, int]:
        """Return how many open jobs each account has."""
        return await self._store.read(polling.backlog)

    async def census(self) -> census.Census:
        """Count the jobs that have not ended. Raises StoreUnavailable."""
        now = self._clock()
        return await self._store.read(lambda db: census.take(db, now))

    async def purge(self, age: int, count: int) -> int:
        """Purge the jobs that ended longest ago, at least `age` microseconds; return how many."""
        return await self._store.write(lambda db: purge.purge_ended(db, self._clock() - age, count))

    async def keep_decisions(self, kept: Sequence[decisions.Kept], most: int) -> None:
        """Write decisions, and let no more than `most` of all be kept in the long run."""
        await self._store.write(lambda db: decisions.keep(db, kept, most))

    async def decisions(self, wanted: decisions.Wanted, before: int, count: int) -> decisions.Page:
        """Return at most `count` decisions that are wanted, newest first, before the position."""
        return await self._store.read(lambda db: decisions.read(db, wanted, before, count))

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

    async def _charges(self, demand: Demand, limits: Sequence[Limit]) -> tuple[list[Charge], str]:
        now, time_sql = self._clock(), self._store.time_sql
        return await self._store.read(
            lambda db: admitting.charges_of(db, demand, limits, now, time_sql)
        )

    async def _usage(self, tenant: str, limits: Sequence[Limit]) -> tuple[LimitState, ...] | None:
        now, time_sql = self._clock(), self._store.time_sql
        return await self._store.read(lambda db: usage.read(db, tenant, limits, now, time_sql))

    async def _refresh(self, tenant: str, limits: Sequence[Limit]) -> None:
        """Bring the tenant's counters to limits that no admission has met yet."""
        await self._store.write(
            lambda db: adoption.refresh(db, tenant, limits, self._clock()), lock=tenant
        )


def _lapsed(dispatch_time: int | None) -> Change:
    if dispatch_time is None:
        return Change(State.REJECTED, cause="lease lapsed, never sent", failure_code="NEVER_SENT")
    return Change(State.SUBMIT_UNKNOWN, cause="lease lapsed", failure_code="INTERRUPTED")
