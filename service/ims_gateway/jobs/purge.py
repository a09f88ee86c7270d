"""Deletes jobs that ended long ago. What they used of a limit is kept.

Decides what belongs to a job. One whose outcome is not known has not ended and is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ims_gateway.jobs import rows
from ims_gateway.jobs.database import Connection
from ims_gateway.jobs.states import TERMINAL, State
from ims_gateway.quota.windows import QUARTER

# What another process deletes at the same time is not returned here, so each job is folded once.
DELETE_ENDED: Final = f"""
DELETE FROM jobs WHERE job_id IN (
    SELECT job_id FROM jobs WHERE end_time <= :before ORDER BY end_time LIMIT :count)
AND state IN ({", ".join(str(int(state)) for state in sorted(TERMINAL))})
RETURNING job_id, tenant, create_time, principal, algorithm, state, cost
"""  # noqa: S608 - of the numbers of states
# In one order, so that two processes that fold at once do not wait for each other.
FOLD: Final = """
INSERT INTO totals (tenant, limit_id, bucket, period, used)
SELECT tenant, limit_id, bucket, period, SUM(amount) FROM holds
WHERE job_id IN ({}) AND state <> 'released' GROUP BY tenant, limit_id, bucket, period
ORDER BY tenant, limit_id, bucket, period
ON CONFLICT (tenant, limit_id, bucket, period) DO UPDATE SET used = totals.used + excluded.used
"""
ADD_USAGE: Final = """
INSERT INTO usage (tenant, time, principal, algorithm, jobs, cost)
VALUES (:tenant, :time, :principal, :algorithm, :jobs, :cost)
ON CONFLICT (tenant, time, principal, algorithm)
DO UPDATE SET jobs = usage.jobs + excluded.jobs, cost = usage.cost + excluded.cost
"""
DELETE_ROWS: Final = (
    "DELETE FROM holds WHERE job_id IN ({})",
    "DELETE FROM transitions WHERE job_id IN ({})",
    "DELETE FROM labels WHERE job_id IN ({})",
)


def purge_ended(db: Connection, before: int, count: int) -> int:
    """Delete the jobs that ended longest ago, at `before` or earlier, with all that is about them.

    The sum of `totals` and of the holds that were not released stays what the counters say.
    """
    ended = db.execute(DELETE_ENDED, {"before": before, "count": count}).fetchall()
    names, values = rows.listed("job", [row["job_id"] for row in ended])
    if ended:
        db.execute(FOLD.format(names), values)
        _keep_usage(db, ended)
        for statement in DELETE_ROWS:
            db.execute(statement.format(names), values)
    return len(ended)


def _keep_usage(db: Connection, ended: Sequence[Mapping[str, Any]]) -> None:
    """Keep what the jobs have used, for the history and for limits that are defined anew."""
    used: dict[tuple[str, int, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in ended:
        if row["state"] != State.REJECTED:
            time = row["create_time"] // QUARTER * QUARTER
            jobs_and_cost = used[row["tenant"], time, row["principal"], row["algorithm"]]
            jobs_and_cost[0] += 1
            jobs_and_cost[1] += row["cost"]
    for key, (jobs, cost) in sorted(used.items()):
        values = dict(zip(("tenant", "time", "principal", "algorithm"), key, strict=True))
        db.execute(ADD_USAGE, values | {"jobs": jobs, "cost": cost})
