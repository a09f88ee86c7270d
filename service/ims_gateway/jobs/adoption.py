"""Carries what was used over to limits that count in another way than before.

A new limit, another time zone, another scope: the counters that such a limit asks from now on are
made from the jobs of its present windows, as if it had always been so. Each job's hold moves with
it, so that a hold still has exactly one end, and a counter is still the sum of its holds.

It runs within an admission, under the lock of its tenant, and may stand though the admission then
refuses: it says nothing but what the ledger already knew.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from ims_gateway.jobs.database import Connection
from ims_gateway.jobs.rows import listed
from ims_gateway.jobs.standing import READ_DEFINITIONS, definitions_of
from ims_gateway.jobs.states import TERMINAL, State
from ims_gateway.quota.limits import (
    BudgetLimit,
    ConcurrencyLimit,
    Counted,
    Limit,
    counted,
)
from ims_gateway.quota.windows import Window

WRITE_DEFINITIONS: Final = """
INSERT INTO definitions (tenant, definitions) VALUES (:tenant, :definitions)
ON CONFLICT (tenant) DO UPDATE SET definitions = excluded.definitions
"""
_UNSETTLED: Final = f"({int(State.SUBMITTING)}, {int(State.SUBMIT_UNKNOWN)})"
_TERMINAL: Final = f"({', '.join(str(int(state)) for state in sorted(TERMINAL))})"
# The jobs that a limit counts now: those of its window, or those that are open.
OF_WINDOW: Final = f"""
jobs.tenant = :tenant AND jobs.create_time >= :start AND jobs.create_time < :end
AND jobs.state <> {int(State.REJECTED)}
"""
OF_OPEN: Final = f"jobs.tenant = :tenant AND jobs.state NOT IN {_TERMINAL}"
CALLERS: Final = "SELECT DISTINCT principal, algorithm FROM jobs WHERE {}"
SUM_OF_HOLDS: Final = """
SELECT bucket, period, SUM(amount) AS amount
FROM jobs JOIN holds ON holds.job_id = jobs.job_id AND holds.limit_id = :limit_id
WHERE {} AND holds.state <> 'released' GROUP BY bucket, period ORDER BY bucket, period
"""
DROP_HOLDS: Final = """
DELETE FROM holds WHERE limit_id = :limit_id AND job_id IN (SELECT job_id FROM jobs WHERE {})
"""
# A hold on open jobs lasts as long as the job, any other until the service has answered.
WRITE_HOLDS: Final = """
INSERT INTO holds (job_id, tenant, limit_id, bucket, period, amount, state)
SELECT job_id, tenant, :limit_id, :bucket, :period, {amount}, {state} FROM jobs
WHERE {jobs} AND ({callers})
"""
_STATE: Final = f"CASE WHEN jobs.state IN {_UNSETTLED} THEN 'held' ELSE 'committed' END"
# What purged jobs had used, by the quarter of an hour: every window begins with one.
PURGED: Final = """
SELECT principal, algorithm, SUM(jobs) AS jobs, SUM(cost) AS cost FROM usage
WHERE tenant = :tenant AND time >= :start AND time < :end GROUP BY principal, algorithm
"""
READ_TOTALS: Final = """
SELECT bucket, used FROM totals
WHERE tenant = :tenant AND limit_id = :limit_id AND period = :period
"""
WRITE_TOTAL: Final = """
INSERT INTO totals (tenant, limit_id, bucket, period, used)
VALUES (:tenant, :limit_id, :bucket, :period, :used)
ON CONFLICT (tenant, limit_id, bucket, period) DO UPDATE SET used = excluded.used
"""
ADD_USED: Final = """
INSERT INTO counters (tenant, limit_id, bucket, period, used)
VALUES (:tenant, :limit_id, :bucket, :period, :amount)
ON CONFLICT (tenant, limit_id, bucket, period) DO UPDATE SET used = counters.used + excluded.used
"""


def refresh(db: Connection, tenant: str, limits: Sequence[Limit], now: int) -> None:
    """Bring the tenant's counters to the limits, if they are not: no admission has met them yet."""
    row = db.execute(READ_DEFINITIONS, {"tenant": tenant}).fetchone()
    known = row["period"] if row else ""
    if known != definitions_of(limits):
        adopt(db, tenant, limits, known, now)


def adopt(db: Connection, tenant: str, limits: Sequence[Limit], known: str, now: int) -> None:
    """Bring the tenant's counters to the limits as they are now defined.

    `known` is what the counters were kept by so far.
    """
    before: dict[str, str] = json.loads(known) if known else {}
    for limit in counted(limits):
        if before.get(limit.id) != limit.definition:
            _adopt(db, tenant, limit, limit.window(now))
    db.execute(WRITE_DEFINITIONS, {"tenant": tenant, "definitions": definitions_of(limits)})


def _adopt(db: Connection, tenant: str, limit: Counted, window: Window) -> None:
    jobs = OF_OPEN if isinstance(limit, ConcurrencyLimit) else OF_WINDOW
    of_jobs: dict[str, Any] = {"tenant": tenant}
    if jobs is OF_WINDOW:
        of_jobs |= {"start": window.start, "end": window.end}
    of_limit = {"tenant": tenant, "limit_id": limit.id}
    for sign in (-1, 1):
        for row in db.execute(SUM_OF_HOLDS.format(jobs), of_jobs | of_limit).fetchall():
            where = {"bucket": row["bucket"], "period": row["period"]}
            db.execute(ADD_USED, of_limit | where | {"amount": sign * int(row["amount"])})
        if sign < 0:
            _move_holds(db, limit, window.key, jobs, of_jobs)
    if jobs is OF_WINDOW:
        _count_purged(db, limit, window, of_jobs)


def _move_holds(
    db: Connection, limit: Counted, period: str, jobs: str, of_jobs: dict[str, Any]
) -> None:
    callers: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in db.execute(CALLERS.format(jobs), of_jobs).fetchall():
        name = row["principal"].partition("/")[2]
        if limit.scope.covers(name, row["algorithm"]):
            bucket = limit.scope.bucket(name, row["algorithm"])
            callers[bucket].append((row["principal"], row["algorithm"]))
    db.execute(DROP_HOLDS.format(jobs), {**of_jobs, "limit_id": limit.id})
    for bucket, pairs in sorted(callers.items()):
        _, principals = listed("principal", [pair[0] for pair in pairs])
        _, algorithms = listed("algorithm", [pair[1] for pair in pairs])
        statement = WRITE_HOLDS.format(
            amount="cost" if isinstance(limit, BudgetLimit) else "1",
            state="'held'" if isinstance(limit, ConcurrencyLimit) else _STATE,
            jobs=jobs,
            callers=" OR ".join(
                f"(principal = :principal{number} AND algorithm = :algorithm{number})"
                for number in range(len(pairs))
            ),
        )
        where = {"limit_id": limit.id, "bucket": bucket, "period": period}
        db.execute(statement, of_jobs | principals | algorithms | where)


def _count_purged(db: Connection, limit: Counted, window: Window, of_jobs: dict[str, Any]) -> None:
    """Have the window's totals say what its purged jobs had used, and the counters with them."""
    where = {"tenant": of_jobs["tenant"], "limit_id": limit.id, "period": window.key}
    before = {row["bucket"]: row["used"] for row in db.execute(READ_TOTALS, where).fetchall()}
    after: dict[str, int] = defaultdict(int)
    for row in db.execute(PURGED, of_jobs).fetchall():
        name = row["principal"].partition("/")[2]
        if limit.scope.covers(name, row["algorithm"]):
            column = "cost" if isinstance(limit, BudgetLimit) else "jobs"
            after[limit.scope.bucket(name, row["algorithm"])] += int(row[column])
    for bucket in sorted(before.keys() | after.keys()):
        used = after.get(bucket, 0)
        if used != before.get(bucket, 0):
            keys = where | {"bucket": bucket}
            db.execute(WRITE_TOTAL, keys | {"used": used})
            db.execute(ADD_USED, keys | {"amount": used - before.get(bucket, 0)})
