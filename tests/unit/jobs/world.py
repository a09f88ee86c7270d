"""A migrated ledger file for each test, a clock that is told the time, and intents."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ims_gateway.errors import Refusal
from ims_gateway.jobs import admission, rows
from ims_gateway.jobs.database import Session, database
from ims_gateway.jobs.record import Change, Intent, JobRecord
from ims_gateway.jobs.schema import metadata
from ims_gateway.jobs.sqlite import SqliteSession
from ims_gateway.jobs.states import State
from ims_gateway.jobs.store import Store
from ims_gateway.quota.limits import CountLimit, Limit, RateLimit
from tests.sqlite import migrated

SECOND = 1_000_000
NOON = 1_780_315_200 * SECOND  # 2026-06-01T12:00:00Z
RATE = RateLimit("burst", per_second=1.0, burst=2)
DAILY = CountLimit("daily", max=3, time_zone="UTC")


@dataclass
class Clock:
    """A clock that moves when it is told to, in microseconds since the epoch."""

    now: int = NOON

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


def intent(number: int = 0, **changes: Any) -> Intent:
    members: dict[str, Any] = {
        "job_id": f"job-{number}",
        "tenant": "acme",
        "request_id": f"request-{number}",
        "body_hash": b"a body",
        "principal": "principal/farm",
        "algorithm": "cover",
        "account": "main",
        "spec": b"a spec",
        "create_time": NOON + number,
        "lease_until": NOON + 50 * SECOND,
        "dispatch_time": NOON,
        "decision_id": "d-1",
        "traceparent": "",
    }
    return Intent(**{**members, **changes})


DEMAND = intent().demand


@dataclass
class Books:
    """The ledger's rows, on a connection of their own. Every command is one transaction."""

    session: Session
    clock: Clock = field(default_factory=Clock)

    @property
    def db(self) -> Any:
        return self.session.connection

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        self.session.begin(())
        try:
            yield self.db
        except Refusal:
            # As the store does: a refusal has written nothing, so there is nothing to undo.
            self.session.commit()
            raise
        except BaseException:
            self.session.rollback()
            raise
        self.session.commit()

    def admit(self, wish: Intent, *limits: Limit) -> admission.Admission:
        with self.transaction() as db:
            return admission.admit(db, wish, limits, self.clock())

    def change(self, job_id: str, state: State, **members: Any) -> tuple[JobRecord, bool]:
        members = {"cause": "test", **members}
        with self.transaction() as db:
            return rows.change_state(db, job_id, Change(state, **members), self.clock())

    def all(self, query: str) -> list[tuple[Any, ...]]:
        rows = self.db.execute(query).fetchall()
        return [tuple(row.values()) if isinstance(row, dict) else tuple(row) for row in rows]

    def used(self) -> dict[tuple[str, str, str], int]:
        query = "SELECT tenant, limit_id, period, used FROM counters"
        return {row[:3]: row[3] for row in self.all(query)}

    def held(self) -> dict[tuple[str, str, str], int]:
        query = """SELECT tenant, limit_id, period, SUM(amount) FROM holds
                   WHERE state <> 'released' GROUP BY tenant, limit_id, period"""
        return {row[:3]: row[3] for row in self.all(query)}

    def everything(self) -> list[tuple[Any, ...]]:
        tables = ("jobs", "transitions", "holds", "counters", "rates", "totals", "usage")
        return [row for table in tables for row in self.all(f"SELECT '{table}', * FROM {table}")]


def emptied(ledger: Books) -> None:
    """Delete every row, and set the clock back: hypothesis runs many examples on one ledger."""
    for table in metadata.tables:
        ledger.db.execute(f"DELETE FROM {table}")
    ledger.clock.now = NOON


def open_file(path: Path) -> sqlite3.Connection:
    """Open a ledger's file. Nothing here has to outlive a power cut."""
    db = sqlite3.connect(path, isolation_level=None)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA synchronous = OFF")
    return db


@contextmanager
def books(path: Path) -> Iterator[Books]:
    path.write_bytes(migrated())
    with closing(SqliteSession(open_file(path), path)) as session:
        yield Books(session)


@asynccontextmanager
async def opened(where: Path | str, timeout_seconds: float = 5.0) -> AsyncIterator[Store]:
    """Run a store over a file, or over the database that a URL names."""
    url = where if isinstance(where, str) else f"sqlite:///{where}"
    store = Store(database(url, timeout_seconds))
    try:
        yield store
    finally:
        await store.close()


class Hold:
    """A command that keeps the writer busy, so that what comes after it makes one group."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()

    def __call__(self, _: sqlite3.Connection) -> None:
        self.begun.set()
        self.ended.wait(30)
