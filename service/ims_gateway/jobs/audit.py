"""Holds the ledger against itself and against a provider's bill. Reads only.

Each question is one statement, so it is answered of one moment, whatever is written meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ims_gateway.jobs.database import Connection
from ims_gateway.jobs.states import TERMINAL, State
from ims_gateway.quota.windows import ALWAYS

RECOUNT: Final = """
SELECT tenant, limit_id, bucket, period, SUM(counted) AS counted, SUM(held) AS held FROM (
    SELECT tenant, limit_id, bucket, period, used AS counted, 0 AS held FROM counters
    UNION ALL SELECT tenant, limit_id, bucket, period, 0, used FROM totals
    UNION ALL SELECT tenant, limit_id, bucket, period, 0, amount FROM holds
    WHERE state <> 'released') AS parts
GROUP BY tenant, limit_id, bucket, period ORDER BY tenant, limit_id, bucket, period
"""
_TERMINAL: Final = ", ".join(str(int(state)) for state in sorted(TERMINAL))
_UNSETTLED: Final = f"{int(State.SUBMITTING)}, {int(State.SUBMIT_UNKNOWN)}"
MISPLACED_HOLDS: Final = f"""
SELECT holds.tenant, holds.limit_id, holds.bucket, holds.period, holds.job_id, holds.state
FROM holds LEFT JOIN jobs ON jobs.job_id = holds.job_id
WHERE holds.state <> CASE
    WHEN jobs.state IS NULL THEN ''
    WHEN jobs.state = {int(State.REJECTED)} THEN 'released'
    WHEN holds.period = '{ALWAYS.key}' AND jobs.state IN ({_TERMINAL}) THEN 'released'
    WHEN holds.period = '{ALWAYS.key}' OR jobs.state IN ({_UNSETTLED}) THEN 'held'
    ELSE 'committed' END
ORDER BY holds.job_id, holds.limit_id
"""  # noqa: S608 - of numbers and a name of ours
TAKEN: Final = f"""
SELECT job_id, tenant, algorithm, upstream_job_id, cost, create_time FROM jobs
WHERE upstream_job_id <> '' AND state <> {int(State.REJECTED)}
AND create_time >= :since AND create_time < :until ORDER BY create_time, job_id
"""  # noqa: S608 - of a number
UNKNOWN: Final = f"""
SELECT job_id, tenant, algorithm, upstream_job_id, cost, create_time FROM jobs
WHERE state = {int(State.SUBMIT_UNKNOWN)} ORDER BY create_time, job_id
"""  # noqa: S608 - of a number
COUNTERS: Final = """
SELECT tenant, limit_id, bucket, period, used FROM counters WHERE used > 0 AND period IN ({})
"""


@dataclass(frozen=True, slots=True)
class Count:
    """A counter, and what the holds and totals of the ledger say it should be."""

    tenant: str
    limit_id: str
    bucket: str
    period: str
    counted: int
    held: int


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A hold that does not stand as its job's state has it."""

    tenant: str
    limit_id: str
    bucket: str
    period: str
    job_id: str
    state: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A job that the service took, or of which nobody knows; `cost` is in micro-units."""

    job_id: str
    tenant: str
    algorithm: str
    upstream_job_id: str
    cost: int
    create_time: int

    @property
    def name(self) -> str:
        """The job's resource name."""
        return f"tenants/{self.tenant}/jobs/{self.job_id}"


def recount(db: Connection) -> list[Count]:
    """Return every counter beside what the ledger says."""
    rows = db.execute(RECOUNT).fetchall()
    return [
        Count(**{**dict(row), "counted": int(row["counted"]), "held": int(row["held"])})
        for row in rows
    ]


def differences(db: Connection) -> list[Count]:
    """Return the counters that are not what the ledger says."""
    return [count for count in recount(db) if count.counted != count.held]


def misplaced_holds(db: Connection) -> list[Misplaced]:
    """Return the holds that do not fit their jobs."""
    return [Misplaced(**dict(row)) for row in db.execute(MISPLACED_HOLDS).fetchall()]


def taken(db: Connection, since: int, until: int) -> list[Taken]:
    """Return the jobs that the service took, of a stretch of time in microseconds."""
    rows = db.execute(TAKEN, {"since": since, "until": until}).fetchall()
    return [Taken(**dict(row)) for row in rows]


def unknown(db: Connection) -> list[Taken]:
    """Return the jobs of which nobody knows whether the service took them."""
    return [Taken(**dict(row)) for row in db.execute(UNKNOWN).fetchall()]


def used(db: Connection, periods: Iterable[str]) -> Sequence[Mapping[str, object]]:
    """Return the counters of these windows, of all tenants, that are not at nothing."""
    bound = {f"period{number}": period for number, period in enumerate(sorted(set(periods)))}
    if not bound:
        return []
    statement = COUNTERS.format(", ".join(f":{name}" for name in bound))
    return [dict(row) for row in db.execute(statement, bound).fetchall()]
