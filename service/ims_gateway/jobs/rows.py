"""Rows of the ledger and the records they stand for.

Statements keep to SQL that PostgreSQL shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ims_gateway.errors import JobStateConflict
from ims_gateway.jobs.database import Connection, Rows
from ims_gateway.jobs.record import Change, Intent, JobRecord
from ims_gateway.jobs.states import OPEN, TERMINAL, TRANSITIONS, State
from ims_gateway.quota.windows import ALWAYS

COLUMNS: Final = """
job_id, tenant, request_id, body_hash, principal, algorithm, account, spec, state, create_time,
update_time, end_time, upstream_job_id, upstream_request_id, failure_code, failure_message, reply,
decision_id, traceparent, overdue_time
"""
INSERT_JOB: Final = f"""
INSERT INTO jobs (job_id, tenant, request_id, body_hash, principal, algorithm, account, spec, state,
    create_time, update_time, lease_until, dispatch_time, decision_id, traceparent, cost)
VALUES (:job_id, :tenant, :request_id, :body_hash, :principal, :algorithm, :account, :spec, :state,
    :create_time, :create_time, :lease_until, :dispatch_time, :decision_id, :traceparent, :cost)
RETURNING {COLUMNS}
"""
UPDATE_JOB: Final = f"""
UPDATE jobs SET state = :state, update_time = :now, end_time = :end_time, lease_until = NULL,
    next_poll_time = :next_poll_time, poller = NULL,
    upstream_job_id = COALESCE(:upstream_job_id, upstream_job_id),
    upstream_request_id = COALESCE(:upstream_request_id, upstream_request_id),
    failure_code = COALESCE(:failure_code, failure_code),
    failure_message = COALESCE(:failure_message, failure_message),
    reply = COALESCE(:reply, reply)
WHERE job_id = :job_id AND state = :seen
RETURNING {COLUMNS}
"""
ADD_TRANSITION: Final = """
INSERT INTO transitions (job_id, number, state, time, cause)
SELECT :job_id, COUNT(*), :state, :now, :cause FROM transitions WHERE job_id = :job_id
"""
COMMIT_HOLDS: Final = f"""
UPDATE holds SET state = 'committed'
WHERE job_id = :job_id AND state = 'held' AND period <> '{ALWAYS.key}'
"""
RELEASE_HOLDS: Final = """
UPDATE holds SET state = 'released' WHERE job_id = :job_id AND state = 'held'
RETURNING tenant, limit_id, bucket, period, amount
"""
RETURN_USED: Final = """
UPDATE counters SET used = used - :amount WHERE tenant = :tenant AND limit_id = :limit_id
    AND bucket = :bucket AND period = :period
"""
BY_ID: Final = f"SELECT {COLUMNS} FROM jobs WHERE job_id = :job_id"
BY_REQUEST: Final = f"""
SELECT {COLUMNS} FROM jobs
WHERE tenant = :tenant AND request_id = :request_id AND state <> {int(State.REJECTED)}
"""
OF_ANOTHER_JOB: Final = f"""
SELECT {COLUMNS} FROM jobs
WHERE upstream_job_id = :upstream_job_id AND upstream_job_id <> '' AND job_id <> :job_id
"""
DISPATCH: Final = f"""
UPDATE jobs SET dispatch_time = :now
WHERE job_id = :job_id AND state = {int(State.SUBMITTING)} AND lease_until > :now
RETURNING job_id
"""
# An update, so that no job is dispatched between the look at it and its change: that needs a lease.
LAPSED: Final = """
UPDATE jobs SET lease_until = NULL WHERE lease_until <= :now AND job_id IN (
    SELECT job_id FROM jobs WHERE lease_until <= :now ORDER BY lease_until LIMIT :count)
RETURNING job_id, dispatch_time
"""


def insert_intent(db: Connection, intent: Intent) -> Rows:
    """Write the intent as a job in state SUBMITTING; return its row, to be fetched."""
    values = {name: getattr(intent, name) for name in intent.__slots__}
    inserted = db.execute(INSERT_JOB, {**values, "state": int(State.SUBMITTING)})
    _note(db, intent.job_id, State.SUBMITTING, intent.create_time, "submit")
    return inserted


def find_job(db: Connection, job_id: str) -> JobRecord | None:
    """Return the job of that id."""
    row = db.execute(BY_ID, {"job_id": job_id}).fetchone()
    return record_of(row) if row else None


def ask_request(db: Connection, tenant: str, request_id: str) -> Rows:
    """Ask for the job that the tenant's request id has; a rejected one has given it up."""
    return db.execute(BY_REQUEST, {"tenant": tenant, "request_id": request_id})


def change_state(
    db: Connection, job_id: str, change: Change, now: int, seen: State | None = None
) -> tuple[JobRecord, bool]:
    """Carry out a change that the table of transitions allows, and end the job's holds with it.

    Returns the record and whether it changed: a change that comes too late, or to a job that has
    left the state in which it was `seen`, leaves it as it is.
    """
    record = _job(db, job_id)
    values = {
        "job_id": job_id,
        "state": int(change.state),
        "now": now,
        "end_time": now if change.state in TERMINAL else None,
        "next_poll_time": change.next_poll_time if change.state in OPEN else None,
        "upstream_job_id": change.upstream_job_id,
        "upstream_request_id": change.upstream_request_id,
        "failure_code": change.failure_code,
        "failure_message": change.failure_message,
        "reply": change.reply,
    }
    while change.state in TRANSITIONS[record.state] and seen in (None, record.state):
        row = db.execute(UPDATE_JOB, {**values, "seen": int(record.state)}).fetchone()
        if row is not None:
            _end_holds(db, job_id, change.state)
            _note(db, job_id, change.state, now, change.cause)
            return record_of(row), True
        # Another process has changed the job since it was read.
        record = _job(db, job_id)
    return record, False


def resolve_job(db: Connection, job_id: str, change: Change, now: int) -> tuple[JobRecord, bool]:
    """Carry out a change that an operator asks for.

    Raises JobStateConflict where the service's job belongs to another one: it is paid once.
    """
    values = {"job_id": job_id, "upstream_job_id": change.upstream_job_id}
    row = db.execute(OF_ANOTHER_JOB, values).fetchone() if change.upstream_job_id else None
    if row is not None:
        raise JobStateConflict(f"the upstream job is that of {record_of(row).name}")
    return change_state(db, job_id, change, now, State.SUBMIT_UNKNOWN)


def record_of(row: Mapping[str, Any]) -> JobRecord:
    """Return the record that a row with the columns above stands for."""
    return JobRecord(**{**dict(row), "state": State(row["state"])})


def listed(name: str, members: Iterable[object]) -> tuple[str, dict[str, Any]]:
    """Return the parameters of a list, as they stand in a statement and with what is bound."""
    values = {f"{name}{number}": member for number, member in enumerate(members)}
    return ", ".join(f":{parameter}" for parameter in values), values


def _job(db: Connection, job_id: str) -> JobRecord:
    record = find_job(db, job_id)
    if record is None:
        raise LookupError(job_id)
    return record


def _end_holds(db: Connection, job_id: str, state: State) -> None:
    """Give holds their one end: taken by the service, or returned. Unknown keeps all of them.

    Those on jobs open at once end with the job; what else is still held then was never taken.
    """
    if state is State.QUEUED:
        db.execute(COMMIT_HOLDS, {"job_id": job_id})
    elif state in TERMINAL:
        released = db.execute(RELEASE_HOLDS, {"job_id": job_id}).fetchall()
        # In one order, so that two processes that release at once do not wait for each other.
        for row in sorted(map(dict, released), key=lambda row: row["limit_id"]):
            db.execute(RETURN_USED, row)


def _note(db: Connection, job_id: str, state: State, now: int, cause: str) -> None:
    values = {"job_id": job_id, "state": int(state), "now": now, "cause": cause}
    db.execute(ADD_TRANSITION, values)
