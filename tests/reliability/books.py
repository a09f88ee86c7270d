"""The books of both sides, held against each other when the dust has settled.

Decides what counts as a violation of the promises: a paid job is submitted at most once per request
id, and never forgotten; quota is what the ledger says. Reads the ledger with a connection of its
own, and never through the gateway's code.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

import sqlalchemy

from ims_gateway.jobs.states import OPEN, TRANSITIONS, State

READ_JOBS: Final = """
SELECT job_id, tenant, request_id, state, upstream_job_id, lease_until FROM jobs
"""
READ_HOLDS: Final = "SELECT job_id, tenant, limit_id, bucket, period, amount, state FROM holds"
READ_TOTALS: Final = "SELECT tenant, limit_id, bucket, period, used FROM totals"
READ_COUNTERS: Final = "SELECT tenant, limit_id, bucket, period, used FROM counters"
READ_TRANSITIONS: Final = "SELECT job_id, state FROM transitions ORDER BY job_id, number"
READ_STATES: Final = "SELECT state, COUNT(*) AS jobs FROM jobs GROUP BY state"
MOVING: Final = (State.SUBMITTING, *OPEN)
UNKNOWN: Final = (State.SUBMIT_UNKNOWN,)
HOLD_OF: Final = {
    State.SUBMITTING: "held",
    State.SUBMIT_UNKNOWN: "held",
    State.REJECTED: "released",
}


class Kind(StrEnum):
    """What can be wrong."""

    SUBMITTED_TWICE = "a request id was accepted twice"
    FORGOTTEN = "an accepted job is neither known nor unknown to the ledger"
    INVENTED = "the ledger knows an upstream job that is another's, or nobody's"
    ANSWER_IS_WRONG = "a caller was told of a job that the ledger does not have so"
    TWO_ANSWERS = "a request id was answered with two jobs"
    STUCK = "a job never ended, or an intent was never settled"
    HISTORY_IS_WRONG = "the recorded changes do not lead to the job's state"
    HOLD_IS_WRONG = "a hold does not fit its job's state"
    COUNTER_IS_WRONG = "a counter is not the sum of its holds"
    OVERSPENT = "more was taken of a limit than it has"
    GATEWAY_FAULT = "a caller was told of a fault of the gateway, or of a wrong request"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong, and about what."""

    kind: Kind
    about: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.about}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """One job that the service accepted, with the request id that it carries as user data."""

    upstream_job_id: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Told:
    """What callers were told about a request id: job names by ending, and faults."""

    request_id: str
    accepted: frozenset[str]
    unknown: frozenset[str]
    faults: tuple[str, ...] = ()


class Database:
    """The ledger's database, read past the gateway."""

    def __init__(self, url: str) -> None:
        driver = url.replace("postgresql://", "postgresql+psycopg://")
        self._engine = sqlalchemy.create_engine(driver, poolclass=sqlalchemy.NullPool)

    def rows(self, query: str) -> list[Mapping[str, Any]]:
        """Return what a query finds."""
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(sqlalchemy.text(query)).mappings()]

    def unsettled(self) -> int:
        """Return how many jobs are on their way yet."""
        return sum(row["jobs"] for row in self.rows(READ_STATES) if row["state"] in MOVING)


# What a query finds, as mappings by column.
Rows = Callable[[str], Sequence[Mapping[str, Any]]]


class Books:
    """Everything that both sides and the callers know.

    `limits` is what each tenant's counts have room for, by tenant and limit. Jobs may be on their
    way where not everything is `settled`.
    """

    def __init__(
        self,
        rows: Rows,
        accepted: Sequence[Accepted],
        told: Sequence[Told],
        limits: Mapping[tuple[str, str], int],
        *,
        settled: bool = True,
    ) -> None:
        self.jobs = {row["job_id"]: row for row in rows(READ_JOBS)}
        self.accepted = accepted
        self.told = told
        self._holds = rows(READ_HOLDS)
        self._totals = rows(READ_TOTALS)
        self._counters = rows(READ_COUNTERS)
        self._transitions = rows(READ_TRANSITIONS)
        self._limits = limits
        self._settled = settled
        self._by_request = defaultdict(list)
        for job in self.jobs.values():
            self._by_request[job["request_id"]].append(job)

    def violations(self) -> list[Violation]:
        """Return everything that is wrong."""
        return [
            *self._of_submissions(),
            *self._of_knowledge(),
            *self._of_answers(),
            *self._of_states(),
            *self._of_quota(),
        ]

    def states(self) -> dict[str, int]:
        """Return how many jobs are in each state."""
        return dict(Counter(State(job["state"]).name for job in self.jobs.values()))

    def _of_submissions(self) -> Iterator[Violation]:
        for request_id, times in Counter(job.request_id for job in self.accepted).items():
            if times > 1:
                yield Violation(Kind.SUBMITTED_TWICE, f"{request_id}, {times} times")

    def _of_knowledge(self) -> Iterator[Violation]:
        theirs = {job.upstream_job_id: job.request_id for job in self.accepted}
        ours = {job["upstream_job_id"]: job for job in self.jobs.values()}
        open_ends = UNKNOWN if self._settled else (*UNKNOWN, State.SUBMITTING)
        for upstream_job_id, request_id in theirs.items():
            unknown = any(job["state"] in open_ends for job in self._by_request[request_id])
            if upstream_job_id not in ours and not unknown:
                yield Violation(Kind.FORGOTTEN, f"{request_id} as {upstream_job_id}")
        for upstream_job_id, job in ours.items():
            if upstream_job_id and theirs.get(upstream_job_id) != job["request_id"]:
                yield Violation(Kind.INVENTED, f"{upstream_job_id} of {job['job_id']}")

    def _of_answers(self) -> Iterator[Violation]:
        for told in self.told:
            if len(told.accepted) > 1:
                yield Violation(Kind.TWO_ANSWERS, told.request_id)
            for name in told.accepted | told.unknown:
                job = self.jobs.get(name.rpartition("/")[2])
                if (
                    job is None
                    or job["request_id"] != told.request_id
                    or (name in told.accepted and not job["upstream_job_id"])
                ):
                    yield Violation(Kind.ANSWER_IS_WRONG, f"{told.request_id} as {name}")
            for fault in told.faults:
                yield Violation(Kind.GATEWAY_FAULT, f"{told.request_id}: {fault}")

    def _of_states(self) -> Iterator[Violation]:
        histories = defaultdict(list)
        for row in self._transitions:
            histories[row["job_id"]].append(State(row["state"]))
        for job_id, job in self.jobs.items():
            state = State(job["state"])
            moving = state in MOVING or job["lease_until"] is not None
            if moving and self._settled:
                yield Violation(Kind.STUCK, f"{job_id} in {state.name}")
            if not _leads_to(histories[job_id], state):
                yield Violation(Kind.HISTORY_IS_WRONG, f"{job_id}: {histories[job_id]}, {state}")
            alive = [j for j in self._by_request[job["request_id"]] if _is_alive(j)]
            if len(alive) > 1 and alive[0] is job:
                yield Violation(Kind.TWO_ANSWERS, job["request_id"])

    def _of_quota(self) -> Iterator[Violation]:
        held = Counter({_key(row): row["used"] for row in self._totals})
        limits_of = defaultdict(set)
        for hold in self._holds:
            limits_of[hold["job_id"]].add(hold["limit_id"])
            state = State(self.jobs[hold["job_id"]]["state"])
            if hold["state"] != _hold_of(state, hold["period"]):
                yield Violation(Kind.HOLD_IS_WRONG, f"{hold['job_id']}: {hold['state']}, {state}")
            if hold["state"] != "released":
                held[_key(hold)] += hold["amount"]
        for job_id, job in self.jobs.items():
            if limits_of[job_id] != {limit for who, limit in self._limits if who == job["tenant"]}:
                yield Violation(Kind.HOLD_IS_WRONG, f"{job_id} holds {limits_of[job_id]}")
        used = {_key(row): row["used"] for row in self._counters}
        for key in held.keys() | used.keys():
            if held[key] != used.get(key, 0):
                yield Violation(
                    Kind.COUNTER_IS_WRONG, f"{key}: {used.get(key, 0)}, holds {held[key]}"
                )
            if held[key] > self._limits[key[:2]]:
                yield Violation(Kind.OVERSPENT, f"{key}: {held[key]}")


def _key(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return row["tenant"], row["limit_id"], row["bucket"], row["period"]


def _hold_of(state: State, period: str) -> str:
    """Return how a hold of a job in that state has to stand; one on open jobs lasts longer."""
    if period == "open":
        return "released" if not TRANSITIONS[state] else "held"
    return HOLD_OF.get(state, "committed")


def _leads_to(history: Sequence[State], state: State) -> bool:
    return (
        history[:1] == [State.SUBMITTING]
        and history[-1:] == [state]
        and all(after in TRANSITIONS[before] for before, after in pairwise(history))
    )


def _is_alive(job: Mapping[str, Any]) -> bool:
    return State(job["state"]) is not State.REJECTED
