"""Which jobs are not what somebody has seen of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from ims_gateway.jobs import rows
from ims_gateway.jobs.database import Connection
from ims_gateway.jobs.record import JobRecord

# What is another one after every change of a job: its state and the time of the change.
Mark = tuple[int, int]

MARKS: Final = "SELECT job_id, state, update_time FROM jobs WHERE job_id IN ({})"
RECORDS: Final = f"SELECT {rows.COLUMNS} FROM jobs WHERE job_id IN ({{}})"  # noqa: S608 - of column names


def mark_of(record: JobRecord) -> Mark:
    """Return the job's mark."""
    return int(record.state), record.update_time


def news(db: Connection, seen: Mapping[str, Collection[Mark]]) -> dict[str, JobRecord | None]:
    """Return the jobs that differ from one of the marks seen; None for those that are gone.

    Only these are read whole: of many jobs that are watched, few change between two looks.
    """
    names, values = rows.listed("job", seen)
    marks = {
        row["job_id"]: (row["state"], row["update_time"])
        for row in db.execute(MARKS.format(names), values)
    }
    found: dict[str, JobRecord | None] = dict.fromkeys(seen.keys() - marks.keys())
    changed = [job_id for job_id, mark in marks.items() if set(seen[job_id]) != {mark}]
    if changed:
        names, values = rows.listed("job", changed)
        for row in db.execute(RECORDS.format(names), values):
            found[row["job_id"]] = rows.record_of(row)
    return found
