"""How many jobs have not ended, since when, and what quota is held for those that nobody knows of.

Asked every now and then by each process, so it looks at open jobs alone, and only into indexes:
`jobs_leased` has what is being submitted, `jobs_unknown` what may have been, `jobs_due` what the
service has taken. Jobs that have ended are counted as they end. Reads only; times are microseconds
since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ims_gateway.jobs.database import Connection
from ims_gateway.jobs.states import OPEN, State

SUBMITTING: Final = "lease_until IS NOT NULL"
UNKNOWN: Final = f"state = {int(State.SUBMIT_UNKNOWN)}"
# By account alone, in the order of the index: to group by state as well would sort all of them.
TAKEN: Final = """
SELECT account, MIN(next_poll_time) AS due, {} FROM jobs
WHERE next_poll_time IS NOT NULL GROUP BY account
"""
OF_STATE: Final = """
COUNT(CASE WHEN state = {0} THEN 1 END) AS jobs{0},
MIN(CASE WHEN state = {0} THEN create_time END) AS oldest{0}
"""
UNSETTLED: Final = "SELECT COUNT(*) AS jobs, MIN(create_time) AS oldest FROM jobs WHERE {}"
# Crossed, so that SQLite begins with the few jobs and not with all holds.
HOLDS: Final = """
SELECT COUNT(*) AS holds FROM jobs CROSS JOIN holds
WHERE jobs.{} AND holds.job_id = jobs.job_id AND holds.state = 'held'
"""


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs in one state; the oldest was created at that time, None where there is none."""

    jobs: int = 0
    oldest: int | None = None

    def __or__(self, other: Group) -> Group:
        times = [time for time in (self.oldest, other.oldest) if time is not None]
        return Group(self.jobs + other.jobs, min(times, default=None))


@dataclass(frozen=True, slots=True)
class Census:
    """What there was at `time`.

    `holds` are those of jobs that are not settled, by their state. `due` is when the first poll of
    each account is due, or was.
    """

    time: int
    jobs: Mapping[State, Group]
    holds: Mapping[State, int]
    due: Mapping[str, int]


def take(db: Connection, now: int) -> Census:
    """Count what is there."""
    jobs = {State.SUBMITTING: _group(db, SUBMITTING), State.SUBMIT_UNKNOWN: _group(db, UNKNOWN)}
    due: dict[str, int] = {}
    for row in db.execute(TAKEN.format(", ".join(map(OF_STATE.format, map(int, OPEN))))).fetchall():
        due[row["account"]] = row["due"]
        for state in OPEN:
            group = Group(row[f"jobs{int(state)}"], row[f"oldest{int(state)}"])
            jobs[state] = jobs.get(state, Group()) | group
    holds = {State.SUBMITTING: _holds(db, SUBMITTING), State.SUBMIT_UNKNOWN: _holds(db, UNKNOWN)}
    return Census(now, jobs, holds, due)


def _group(db: Connection, condition: str) -> Group:
    row = db.execute(UNSETTLED.format(condition)).fetchone()
    return Group(row["jobs"], row["oldest"])


def _holds(db: Connection, condition: str) -> int:
    return int(db.execute(HOLDS.format(condition)).fetchone()["holds"])
