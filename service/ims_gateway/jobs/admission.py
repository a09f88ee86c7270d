"""Admission: recall, every limit, and the intent, in one transaction.

All or nothing: limits are looked at first, and written only when every one of them has room, so a
refusal charges nothing. What it never does: wait, or send.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ims_gateway.errors import RequestIdReused
from ims_gateway.jobs import adoption, pages, standing
from ims_gateway.jobs.database import Connection, Rows, together
from ims_gateway.jobs.record import Admission, Change, Intent, JobRecord
from ims_gateway.jobs.rows import ask_request, change_state, find_job, insert_intent, record_of
from ims_gateway.jobs.states import State
from ims_gateway.quota.charges import Charge, charge, questions, refuse_breaches
from ims_gateway.quota.limits import Demand, Limit

TOO_LATE: Final = Change(
    State.REJECTED,
    cause="admitted too late",
    failure_code="STORE_UNAVAILABLE",
    failure_message="the job was recorded after its caller was told to come back; it was not sent",
)


def admit(
    db: Connection, intent: Intent, limits: Sequence[Limit], now: int, time_sql: str | None = None
) -> Admission:
    """Record the intent and take what it needs of every limit, or return the job that exists.

    `limits` are all of the tenant's. Rates go by the database's time where `time_sql` asks for it:
    the clocks of replicas differ, and each would fill the buckets up by its own. Raises
    RequestIdReused, RateExceeded or QuotaExceeded; nothing is taken then.
    """
    # Read and written at a time each: a round trip for each statement would keep the tenant's lock
    # from other processes for three times as long.
    with together(db):
        request = ask_request(db, intent.tenant, intent.request_id)
        asked = standing.ask(db, intent.tenant, questions(intent.demand, limits, now), time_sql)
    if existing := _known(request, intent.body_hash):
        # The intent's own job: a commit whose answer was lost has made it.
        return Admission(existing, recalled=existing.job_id != intent.job_id)
    charges, known = _charges(asked, intent.demand, now)
    if known != standing.definitions_of(limits):
        adoption.adopt(db, intent.tenant, limits, known, now)
        charges, _ = charges_of(db, intent.demand, limits, now, time_sql)
    refuse_breaches(charges, now)
    with together(db):
        inserted = insert_intent(db, intent)
        pages.add_labels(db, intent)
        standing.take(db, intent.tenant, intent.job_id, charges)
    record = record_of(inserted.fetchone())
    return Admission(record, recalled=False, limits=tuple(each.state for each in charges))


def charges_of(
    db: Connection,
    demand: Demand,
    limits: Sequence[Limit],
    now: int,
    time_sql: str | None = None,
) -> tuple[list[Charge], str]:
    """Return what every limit that covers the job says, and what the counters were kept by."""
    asked = standing.ask(db, demand.tenant, questions(demand, limits, now), time_sql)
    return _charges(asked, demand, now)


def withdraw(db: Connection, intent: Intent, now: int) -> None:
    """Take an admission back whose caller was told that it failed, so that nothing was sent."""
    if find_job(db, intent.job_id) is not None:
        change_state(db, intent.job_id, TOO_LATE, now)


def recall(db: Connection, tenant: str, request_id: str, body_hash: bytes) -> JobRecord | None:
    """Return the job that the request id already has.

    Raises RequestIdReused where that job has another body.
    """
    return _known(ask_request(db, tenant, request_id), body_hash)


def _known(request: Rows, body_hash: bytes) -> JobRecord | None:
    row = request.fetchone()
    if row is None:
        return None
    existing = record_of(row)
    if existing.body_hash != body_hash:
        raise RequestIdReused
    return existing


def _charges(asked: standing.Asked, demand: Demand, now: int) -> tuple[list[Charge], str]:
    found = asked.found()
    rate_now = now if found.time is None else found.time
    charges = [charge(each, demand, found.given, now, rate_now) for each in asked.questions]
    return charges, found.definitions
