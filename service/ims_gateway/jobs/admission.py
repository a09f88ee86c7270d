"""Admission: recall, every limit, and the intent, in one transaction.

All or nothing: limits are looked at first, and written only when every one of them has room, so a
refusal charges nothing. What it never does: wait, or send.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ims_gateway.errors import (
    LimitBreach,
    QuotaExceeded,
    RateExceeded,
    RequestIdReused,
)
from ims_gateway.jobs import pages
from ims_gateway.jobs.database import Connection
from ims_gateway.jobs.record import Admission, Change, Intent, JobRecord, LimitState
from ims_gateway.jobs.rows import change_state, find_job, find_request, insert_intent
from ims_gateway.jobs.states import State
from ims_gateway.quota.gcra import decide
from ims_gateway.quota.limits import CountLimit, Limit, RateLimit
from ims_gateway.quota.windows import MICROSECONDS, day_of

READ_TAT: Final = "SELECT tat FROM rates WHERE tenant = :tenant AND limit_id = :limit_id"
WRITE_TAT: Final = """
INSERT INTO rates (tenant, limit_id, tat) VALUES (:tenant, :limit_id, :tat)
ON CONFLICT (tenant, limit_id) DO UPDATE SET tat = excluded.tat
"""
READ_USED: Final = """
SELECT used FROM counters WHERE tenant = :tenant AND limit_id = :limit_id AND period = :period
"""
ADD_USED: Final = """
INSERT INTO counters (tenant, limit_id, period, used)
VALUES (:tenant, :limit_id, :period, :amount)
ON CONFLICT (tenant, limit_id, period) DO UPDATE SET used = counters.used + excluded.used
"""
ADD_HOLD: Final = """
INSERT INTO holds (job_id, limit_id, tenant, period, amount, state)
VALUES (:job_id, :limit_id, :tenant, :period, :amount, 'held')
"""

TOO_LATE: Final = Change(
    State.REJECTED,
    cause="admitted too late",
    failure_code="STORE_UNAVAILABLE",
    failure_message="the job was recorded after its caller was told to come back; it was not sent",
)


@dataclass(frozen=True, slots=True)
class _Charge:
    """What one limit says about one more job: its state afterwards, or the breach."""

    limit: Limit
    state: LimitState
    breach: LimitBreach | None
    tat: int = 0
    window: str = ""


def admit(db: Connection, intent: Intent, limits: Sequence[Limit], now: int) -> Admission:
    """Record the intent and take what it needs of every limit, or return the job that exists.

    Raises RequestIdReused, RateExceeded or QuotaExceeded; nothing is written then.
    """
    if existing := recall(db, intent.tenant, intent.request_id, intent.body_hash):
        # The intent's own job: a commit whose answer was lost has made it.
        return Admission(existing, recalled=existing.job_id != intent.job_id)
    charges = [_charge(db, intent.tenant, limit, now) for limit in limits]
    _refuse_breaches([charge.breach for charge in charges if charge.breach])
    record = insert_intent(db, intent)
    pages.add_labels(db, intent)
    for charge in charges:
        _take(db, intent, charge)
    return Admission(record, recalled=False, limits=tuple(charge.state for charge in charges))


def withdraw(db: Connection, intent: Intent, now: int) -> None:
    """Take an admission back whose caller was told that it failed, so that nothing was sent."""
    if find_job(db, intent.job_id) is not None:
        change_state(db, intent.job_id, TOO_LATE, now)


def recall(db: Connection, tenant: str, request_id: str, body_hash: bytes) -> JobRecord | None:
    """Return the job that the request id already has.

    Raises RequestIdReused where that job has another body.
    """
    existing = find_request(db, tenant, request_id)
    if existing is not None and existing.body_hash != body_hash:
        raise RequestIdReused
    return existing


def preview(
    db: Connection, tenant: str, limits: Sequence[Limit], now: int
) -> tuple[LimitState, ...]:
    """Return each limit as it would stand after one more job; a breached one has -1 left."""
    return tuple(_charge(db, tenant, limit, now).state for limit in limits)


def _charge(db: Connection, tenant: str, limit: Limit, now: int) -> _Charge:
    if isinstance(limit, RateLimit):
        return _charge_rate(db, tenant, limit, now)
    return _charge_count(db, tenant, limit, now)


def _charge_rate(db: Connection, tenant: str, limit: RateLimit, now: int) -> _Charge:
    row = db.execute(READ_TAT, {"tenant": tenant, "limit_id": limit.id}).fetchone()
    decision = decide(row["tat"] if row else 0, now, limit.per_second, limit.burst)
    remaining = decision.remaining if decision.fits else -1
    state = LimitState(limit.id, limit.metric, limit.burst, remaining, decision.tat)
    breach = None
    if not decision.fits:
        wait = decision.retry_after / MICROSECONDS
        breach = LimitBreach(limit.id, limit.metric, limit.burst, tenant, wait)
    return _Charge(limit, state, breach, tat=decision.tat)


def _charge_count(db: Connection, tenant: str, limit: CountLimit, now: int) -> _Charge:
    window = day_of(now, limit.time_zone)
    keys = {"tenant": tenant, "limit_id": limit.id, "period": window.key}
    row = db.execute(READ_USED, keys).fetchone()
    remaining = max(-1, limit.max - (row["used"] if row else 0) - 1)
    state = LimitState(limit.id, limit.metric, limit.max, remaining, window.end)
    breach = None
    if remaining < 0:
        wait = (window.end - now) / MICROSECONDS
        breach = LimitBreach(limit.id, limit.metric, limit.max, tenant, wait if limit.max else None)
    return _Charge(limit, state, breach, window=window.key)


def _refuse_breaches(breaches: list[LimitBreach]) -> None:
    if any(breach.metric != RateLimit.metric for breach in breaches):
        raise QuotaExceeded(tuple(breaches))
    if breaches:
        raise RateExceeded(tuple(breaches))


def _take(db: Connection, intent: Intent, charge: _Charge) -> None:
    keys = {"tenant": intent.tenant, "limit_id": charge.limit.id}
    if isinstance(charge.limit, RateLimit):
        db.execute(WRITE_TAT, {**keys, "tat": charge.tat})
        return
    keys |= {"period": charge.window}
    db.execute(ADD_USED, {**keys, "amount": 1})
    db.execute(ADD_HOLD, {**keys, "amount": 1, "job_id": intent.job_id})
