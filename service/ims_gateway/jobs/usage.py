"""What a tenant has used: of its limits now, and in the days before by algorithm.

Reads only. Jobs that were rejected were never used; those of which nobody knows count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ims_gateway.jobs.database import Connection
from ims_gateway.jobs.standing import DEFINITIONS, READ_DEFINITIONS, TIME, definitions_of
from ims_gateway.jobs.states import State
from ims_gateway.quota.charges import Key, LimitState, state_of
from ims_gateway.quota.limits import Limit, RateLimit, counted
from ims_gateway.quota.windows import Window

READ_ALL: Final = """
SELECT limit_id, bucket, '', tat FROM rates WHERE tenant = :tenant
UNION ALL SELECT limit_id, bucket, period, used FROM counters
WHERE tenant = :tenant AND period IN ({})
"""
# One row for each window that has any use, by algorithm.
HISTORY: Final = f"""
SELECT algorithm, COUNT(*) AS jobs, SUM(cost) AS cost FROM jobs
WHERE tenant = :tenant AND create_time >= :start AND create_time < :end
AND state <> {int(State.REJECTED)} GROUP BY algorithm
UNION ALL SELECT algorithm, SUM(jobs), SUM(cost) FROM usage
WHERE tenant = :tenant AND time >= :start AND time < :end GROUP BY algorithm
"""  # noqa: S608 - of a number of ours
EARLIEST: Final = """
SELECT MIN(time) AS time FROM (
    SELECT MIN(create_time) AS time FROM jobs WHERE tenant = :tenant
    UNION ALL SELECT MIN(time) FROM usage WHERE tenant = :tenant) AS times
"""


@dataclass(frozen=True, slots=True)
class Used:
    """How many jobs, and what they were taken to cost, in micro-units."""

    jobs: int
    cost: int


@dataclass(frozen=True, slots=True)
class History:
    """What was used in each window asked for, by algorithm, and when the tenant's first job was."""

    windows: tuple[Mapping[str, Used], ...]
    earliest: int | None


def read(
    db: Connection, tenant: str, limits: Sequence[Limit], now: int, time_sql: str | None
) -> tuple[LimitState, ...] | None:
    """Return each limit's counts in their present windows.

    A limit that counts for each caller or algorithm separately has those that were ever asked. None
    where the tenant's counters are not kept by these limits yet.
    """
    periods = sorted({limit.window(now).key for limit in counted(limits)})
    bound = {f"period{number}": period for number, period in enumerate(periods)}
    names = ", ".join(f":{name}" for name in bound) or "''"
    parts = [READ_DEFINITIONS, READ_ALL.format(names)]
    if time_sql is not None:
        parts.append(f"SELECT '{TIME}', '', '', {time_sql}")
    rows = db.execute(" UNION ALL ".join(parts), {"tenant": tenant, **bound}).fetchall()
    special = {row["limit_id"]: row for row in rows if row["limit_id"] in (DEFINITIONS, TIME)}
    known = special[DEFINITIONS]["period"] if DEFINITIONS in special else ""
    if known != definitions_of(limits):
        return None
    given = {(row["limit_id"], row["bucket"], row["period"]): row["given"] for row in rows}
    rate_now = special[TIME]["given"] if TIME in special else now
    return tuple(
        state_of(limit, key, given.get(key, 0), now, rate_now)
        for limit in limits
        for key in _keys(limit, given, now)
    )


def history(db: Connection, tenant: str, windows: Sequence[Window]) -> History:
    """Return what was used in each of the windows."""
    found = []
    for window in windows:
        values = {"tenant": tenant, "start": window.start, "end": window.end}
        found.append(_by_algorithm(db.execute(HISTORY, values).fetchall()))
    row = db.execute(EARLIEST, {"tenant": tenant}).fetchone()
    return History(tuple(found), row["time"] if row else None)


def _keys(limit: Limit, given: Mapping[Key, int], now: int) -> list[Key]:
    period = "" if isinstance(limit, RateLimit) else limit.window(now).key
    if not limit.scope.per:
        return [(limit.id, "", period)]
    return sorted(key for key in given if (key[0], key[2]) == (limit.id, period) and key[1])


def _by_algorithm(rows: Sequence[Mapping[str, Any]]) -> dict[str, Used]:
    jobs: dict[str, int] = defaultdict(int)
    cost: dict[str, int] = defaultdict(int)
    for row in rows:
        jobs[row["algorithm"]] += int(row["jobs"])
        cost[row["algorithm"]] += int(row["cost"])
    return {name: Used(jobs[name], cost[name]) for name in sorted(jobs)}
