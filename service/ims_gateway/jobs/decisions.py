"""Recent decisions in the ledger: kept in batches, bounded by their number, read by pages.

Decides how much of the ledger a look at them may take. Values of callers are bound, never written
into a statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ims_gateway.jobs.database import Connection

NEWEST: Final = 2**63 - 1
# As for jobs: a filter that hardly any decision fits must not read all of them in one call.
WINDOW: Final = 5_000
# Rows of one statement; a statement for each number of rows would be one to prepare for each.
ROWS: Final = (64, 8, 1)
# A record comes again where it has grown (an aggregate), or where it is not known whether it was
# committed.
KEEP: Final = (
    "INSERT INTO decisions ({}) VALUES {} "
    "ON CONFLICT (decision_id) DO UPDATE SET record = excluded.record"
)
# Ranges of the primary key, so that processes that trim at once meet the rows in one order.
TRIM: Final = """
DELETE FROM decisions
WHERE number <= (SELECT MAX(number) FROM decisions) - :most
AND number < (SELECT MIN(number) FROM decisions) + :count
"""


class Kept(NamedTuple):
    """A decision with what it is found by. `record` is its JSON, `differs` 1 where the shadow
    policy would have decided otherwise, else 0.
    """  # noqa: D205 - one thought

    decision_id: str
    tenant: str
    principal: str
    code: str
    reason: str
    differs: int
    record: str


COLUMNS: Final = Kept._fields


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list asks for; None is anything."""

    decision_id: str | None = None
    tenant: str | None = None
    principal: str | None = None
    code: str | None = None
    reason: str | None = None
    differs: int | None = None

    @property
    def conditions(self) -> dict[str, str | int]:
        """The columns that have to have a value, and which."""
        members = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in members.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Page:
    """Records as JSON, newest first, and where the next page begins; None after the last."""

    records: Sequence[str]
    end: int | None


def keep(db: Connection, decisions: Sequence[Kept], most: int) -> None:
    """Write decisions, whose ids differ, and delete some of those that are more than `most`."""
    for rows in _portions(decisions):
        values = {
            f"{column}{number}": value
            for number, row in enumerate(rows)
            for column, value in zip(COLUMNS, row, strict=True)
        }
        db.execute(_keep_statement(len(rows)), values)
    # More than were written, so that a bound that was lowered is come to.
    db.execute(TRIM, {"most": most, "count": 2 * len(decisions) + 100})


def read(db: Connection, wanted: Wanted, before: int, count: int, *, window: int = WINDOW) -> Page:
    """Return at most `count` decisions that are wanted and older than the position.

    Fewer, or none, do not mean that there are no more: that is what `end` says.
    """
    conditions = wanted.conditions
    # These have an index each.
    found = [name for name in ("decision_id", "tenant") if name in conditions]
    others = [name for name in conditions if name not in found]
    if not others:
        window = count + 1
    seen = " AND ".join(["number < :before", *(f"{name} = :{name}" for name in found)])
    fits = " AND ".join(["1 = 1", *(f"{name} = :{name}" for name in others)])
    statement = f"""
        SELECT number, record FROM (
            SELECT * FROM decisions WHERE {seen} ORDER BY number DESC LIMIT :window) AS seen
        WHERE {fits} ORDER BY number DESC LIMIT :count
        """  # noqa: S608 - of the names of columns
    values = {**conditions, "before": before, "window": window, "count": count + 1}
    rows = db.execute(statement, values).fetchall()
    records = [row["record"] for row in rows[:count]]
    if len(rows) > count:
        return Page(records, rows[count - 1]["number"])
    return Page(records, _end(db, seen, values) if others else None)


def _portions(decisions: Sequence[Kept]) -> Iterator[Sequence[Kept]]:
    start = 0
    for size in ROWS:
        while len(decisions) - start >= size:
            yield decisions[start : start + size]
            start += size


def _keep_statement(rows: int) -> str:
    places = (
        "(" + ", ".join(f":{column}{number}" for column in COLUMNS) + ")" for number in range(rows)
    )
    return KEEP.format(", ".join(COLUMNS), ", ".join(places))


def _end(db: Connection, seen: str, values: dict[str, Any]) -> int | None:
    """Return the last decision that was looked at, if there may be more after it."""
    statement = f"""
        SELECT number FROM decisions WHERE {seen} ORDER BY number DESC LIMIT 1 OFFSET :skipped
        """  # noqa: S608 - of the names of columns
    row = db.execute(statement, values | {"skipped": values["window"] - 1}).fetchone()
    return None if row is None else int(row["number"])
