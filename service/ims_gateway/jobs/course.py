"""The way of one job through its states, as the ledger wrote it down. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ims_gateway.jobs.database import Connection
from ims_gateway.jobs.states import State

TIMES: Final = "SELECT dispatch_time, next_poll_time FROM jobs WHERE job_id = :job_id"
TRANSITIONS: Final = """
SELECT state, time, cause FROM transitions WHERE job_id = :job_id ORDER BY number
"""


@dataclass(frozen=True, slots=True)
class Transition:
    """A state that the job came to, when, and why. `cause` is in words for operators."""

    state: State
    time: int
    cause: str


@dataclass(frozen=True, slots=True)
class Course:
    """Times are microseconds since the epoch.

    From `dispatch_time` on the call to the service may have gone out; None where none was made. At
    `next_poll_time` the service is asked about the job; None where it is not followed.
    """

    dispatch_time: int | None
    next_poll_time: int | None
    transitions: Sequence[Transition]


def read(db: Connection, job_id: str) -> Course:
    """Return the course of a job; one that was purged has none."""
    values = {"job_id": job_id}
    times = db.execute(TIMES, values).fetchone()
    return Course(
        dispatch_time=times["dispatch_time"] if times else None,
        next_poll_time=times["next_poll_time"] if times else None,
        transitions=[
            Transition(State(row["state"]), row["time"], row["cause"])
            for row in db.execute(TRANSITIONS, values).fetchall()
        ],
    )
