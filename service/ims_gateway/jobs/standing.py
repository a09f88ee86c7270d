"""What the ledger has given of each limit, and the writing of what a job takes.

Decides how it is asked: one statement for all limits of a job, whatever their kinds, and one for
each kind of row that it writes. An admission is as dear as its statements.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from ims_gateway.jobs.database import Connection, Rows
from ims_gateway.quota.charges import Charge, Given, Key, Question
from ims_gateway.quota.limits import Limit, RateLimit, counted

# Rows of the one statement that stand for no limit; a limit's id begins with a letter.
DEFINITIONS: Final = "=definitions"
TIME: Final = "=time"
# A pair of zeros, for the types of the columns to be those of the others.
READ_DEFINITIONS: Final = f"""
SELECT '{DEFINITIONS}' AS limit_id, '' AS bucket, definitions AS period, 0 AS given
FROM definitions WHERE tenant = :tenant
"""  # noqa: S608 - of constants
READ_RATE: Final = """
SELECT limit_id, bucket, '', tat FROM rates
WHERE tenant = :tenant AND limit_id = :limit{0} AND bucket = :bucket{0}
"""
READ_COUNTER: Final = """
SELECT limit_id, bucket, period, used FROM counters
WHERE tenant = :tenant AND limit_id = :limit{0} AND bucket = :bucket{0} AND period = :period{0}
"""
WRITE_RATES: Final = """
INSERT INTO rates (tenant, limit_id, bucket, tat) VALUES {}
ON CONFLICT (tenant, limit_id, bucket) DO UPDATE SET tat = excluded.tat
"""
WRITE_COUNTERS: Final = """
INSERT INTO counters (tenant, limit_id, bucket, period, used) VALUES {}
ON CONFLICT (tenant, limit_id, bucket, period) DO UPDATE SET used = counters.used + excluded.used
"""
WRITE_HOLDS: Final = """
INSERT INTO holds (job_id, tenant, limit_id, bucket, period, amount, state) VALUES {}
"""
RATE_ROW: Final = "(:tenant, :limit{0}, :bucket{0}, :tat{0})"
COUNTER_ROW: Final = "(:tenant, :limit{0}, :bucket{0}, :period{0}, :amount{0})"
HOLD_ROW: Final = "(:job_id, :tenant, :limit{0}, :bucket{0}, :period{0}, :amount{0}, 'held')"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the limits have given. A number that is not there is nothing.

    `definitions` is what the counters of the tenant were kept by, `time` the database's own, where
    it was asked for it.
    """

    given: Given
    definitions: str
    time: int | None


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions, and the rows that answer them, which are on their way."""

    questions: Sequence[Question]
    rows: Rows

    def found(self) -> Standing:
        """Wait for the rows, and return what they say."""
        given: dict[Key, int] = {}
        definitions, time = "", None
        for row in self.rows.fetchall():
            match row["limit_id"]:
                case "=definitions":
                    definitions = row["period"]
                case "=time":
                    time = row["given"]
                case limit_id:
                    given[limit_id, row["bucket"], row["period"]] = row["given"]
        return Standing(given, definitions, time)


def definitions_of(limits: Sequence[Limit]) -> str:
    """Return what the counters depend on, as the ledger keeps it; empty where there are none."""
    return _definitions(tuple(limits))


def ask(
    db: Connection, tenant: str, questions: Sequence[Question], time_sql: str | None = None
) -> Asked:
    """Ask what the limits have given that a job asks; `time_sql` is the database's expression."""
    rates = tuple(isinstance(each.limit, RateLimit) for each in questions)
    values = {"tenant": tenant, **_bound([each.key for each in questions])}
    return Asked(questions, db.execute(_statement(rates, time_sql), values))


def read(
    db: Connection, tenant: str, asked: Sequence[Question], time_sql: str | None = None
) -> Standing:
    """Read what the limits have given that a job asks; `time_sql` is the database's expression."""
    return ask(db, tenant, asked, time_sql).found()


def take(db: Connection, tenant: str, job_id: str, charges: Iterable[Charge]) -> None:
    """Write what a job takes of all limits."""
    charges = list(charges)
    rates = [charge for charge in charges if charge.tat is not None]
    amounts = [charge for charge in charges if charge.amount is not None]
    if rates:
        tats: dict[str, Any] = {f"tat{number}": each.tat for number, each in enumerate(rates)}
        _write(db, WRITE_RATES, RATE_ROW, rates, {"tenant": tenant, **tats})
    if amounts:
        values: dict[str, Any] = {f"amount{n}": each.amount for n, each in enumerate(amounts)}
        values["tenant"] = tenant
        _write(db, WRITE_HOLDS, HOLD_ROW, amounts, {**values, "job_id": job_id})
        _write(db, WRITE_COUNTERS, COUNTER_ROW, amounts, values)


def _write(
    db: Connection, statement: str, row: str, charges: Sequence[Charge], values: dict[str, Any]
) -> None:
    bound = _bound([charge.key for charge in charges])
    if "period" not in row:
        bound = {name: value for name, value in bound.items() if not name.startswith("period")}
    db.execute(_filled(statement, row, len(charges)), values | bound)


def _bound(keys: Sequence[Key]) -> dict[str, Any]:
    return {
        f"{name}{number}": part
        for number, key in enumerate(keys)
        for name, part in zip(("limit", "bucket", "period"), key, strict=True)
    }


@lru_cache(maxsize=1024)
def _statement(rates: tuple[bool, ...], time_sql: str | None) -> str:
    parts = [READ_DEFINITIONS]
    if time_sql is not None:
        parts.append(f"SELECT '{TIME}', '', '', {time_sql}")
    parts += [
        (READ_RATE if is_rate else READ_COUNTER).format(number)
        for number, is_rate in enumerate(rates)
    ]
    return " UNION ALL ".join(parts)


@lru_cache(maxsize=1024)
def _filled(statement: str, row: str, count: int) -> str:
    return statement.format(", ".join(row.format(number) for number in range(count)))


@lru_cache(maxsize=4096)
def _definitions(limits: tuple[Limit, ...]) -> str:
    pairs = {limit.id: limit.definition for limit in counted(limits)}
    return json.dumps(dict(sorted(pairs.items())), separators=(",", ":")) if pairs else ""
