"""One page of a list: where it begins, which jobs it holds, where the next one begins.

Decides how much of the ledger one call may look at. Values of callers are bound, never written into
a statement.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ims_gateway.errors import InvalidRequest, Violation
from ims_gateway.jobs.database import Connection
from ims_gateway.jobs.filters import Filter, storable
from ims_gateway.jobs.record import Intent, JobRecord
from ims_gateway.jobs.rows import COLUMNS, record_of

# A position is the create_time and job_id of the job before it.
Position = tuple[int, str]
NEWEST: Final[Position] = (2**63 - 1, "")
EVERYTHING: Final = Filter()
# A filter that hardly any job fits would have one call read all of a tenant's jobs, and the other
# tenants wait for it: 5,000 rows are 15 ms of SQLite. The page then is short, and its token leads
# on from where the look ended (AIP-158 has it so).
WINDOW: Final = 5_000

ADD_LABEL: Final = """
INSERT INTO labels (job_id, key, value, tenant, create_time)
VALUES (:job_id, :key, :value, :tenant, :create_time)
"""
_HAS_LABEL: Final = """EXISTS (
    SELECT 1 FROM labels WHERE labels.job_id = jobs.job_id AND key = :key{0} AND value = :value{0})
"""
_JOB_ID: Final = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Page:
    """Jobs, newest first, and where the next page begins; None after the last."""

    records: Sequence[JobRecord]
    end: Position | None


def add_labels(db: Connection, intent: Intent) -> None:
    """Write the labels of a new job, for lists that ask for them."""
    for key, value in intent.labels:
        if storable(value):
            values = {"key": key, "value": value, "job_id": intent.job_id}
            times = {"tenant": intent.tenant, "create_time": intent.create_time}
            db.execute(ADD_LABEL, values | times)


def read(
    db: Connection,
    tenant: str,
    wanted: Filter,
    after: Position,
    count: int,
    *,
    window: int = WINDOW,
) -> Page:
    """Return at most `count` of the tenant's jobs that fit the filter and come after the position.

    Fewer, or none, do not mean that there are no more: that is what `end` says.
    """
    if frozenset() in (wanted.states, wanted.algorithms):
        return Page((), None)
    if wanted.before is not None:
        after = min(after, (wanted.before, ""))
    seen, values = _seen(tenant, wanted, after)
    conditions, more = _conditions(wanted)
    if not conditions:
        window = count + 1
    statement = f"""
        SELECT {COLUMNS} FROM jobs JOIN (
            SELECT job_id AS seen_id {seen}
            ORDER BY create_time DESC, job_id DESC LIMIT :window) AS seen ON seen_id = job_id
        WHERE {" AND ".join(["1 = 1", *conditions])}
        ORDER BY create_time DESC, job_id DESC LIMIT :count
        """  # noqa: S608 - of constants and the names of parameters
    found = db.execute(statement, values | more | {"window": window, "count": count + 1})
    records = [record_of(row) for row in found.fetchall()]
    if len(records) > count:
        return Page(records[:count], _position_of(records[count - 1]))
    return Page(records, _end_of(db, seen, values, window) if conditions else None)


def token(tenant: str, wanted: Filter, end: Position) -> str:
    """Return the page token of a position in one list of one tenant."""
    return base64.urlsafe_b64encode(json.dumps([tenant, wanted.digest(), *end]).encode()).decode()


def position(token: str, tenant: str, wanted: Filter) -> Position:
    """Return where the page of the token begins; without a token, the newest job.

    A forged token finds the tenant's own jobs only. Raises InvalidRequest for that of another list.
    """
    if not token:
        return NEWEST
    try:
        owner, digest, create_time, job_id = json.loads(base64.urlsafe_b64decode(token))
        known = (owner, digest) == (tenant, wanted.digest()) and type(create_time) is int
        if known and abs(create_time) < NEWEST[0] and _JOB_ID.fullmatch(job_id):
            return create_time, job_id
    except (ValueError, TypeError):
        pass
    fault = "is not a next_page_token of this list: tenant and filter must stay as they were"
    raise InvalidRequest((Violation("page_token", "page_token", fault),))


def _seen(tenant: str, wanted: Filter, after: Position) -> tuple[str, dict[str, Any]]:
    """Return where the list goes along: the jobs, or the entries of one label, in their order."""
    values = {"tenant": tenant, "create_time": after[0], "job_id": after[1]}
    bounds = "tenant = :tenant AND (create_time, job_id) < (:create_time, :job_id)"
    if wanted.since is not None:
        bounds += " AND create_time >= :since"
        values["since"] = wanted.since
    if not wanted.labels:
        return f"FROM jobs WHERE {bounds}", values
    key, value = min(wanted.labels)
    label = "key = :key AND value = :value"
    return f"FROM labels WHERE {label} AND {bounds}", values | {"key": key, "value": value}


def _conditions(wanted: Filter) -> tuple[list[str], dict[str, Any]]:
    """Return what else a job has to fulfil."""
    conditions, values = [], {}
    states = None if wanted.states is None else {int(state) for state in wanted.states}
    for column, fitting in (("state", states), ("algorithm", wanted.algorithms)):
        if fitting is not None:
            bound: dict[str, Any] = {
                f"{column}{number}": member for number, member in enumerate(sorted(fitting))
            }
            names = ", ".join(f":{name}" for name in bound)
            conditions.append(f"{column} IN ({names})")
            values.update(bound)
    for number, (key, value) in enumerate(sorted(wanted.labels)[1:]):
        conditions.append(_HAS_LABEL.format(number))
        values |= {f"key{number}": key, f"value{number}": value}
    return conditions, values


def _end_of(db: Connection, seen: str, values: dict[str, Any], window: int) -> Position | None:
    """Return the last job that was looked at, if there may be more after it."""
    statement = f"""
        SELECT create_time, job_id {seen}
        ORDER BY create_time DESC, job_id DESC LIMIT 1 OFFSET :skipped
        """
    row = db.execute(statement, values | {"skipped": window - 1}).fetchone()
    return None if row is None else (row["create_time"], row["job_id"])


def _position_of(record: JobRecord) -> Position:
    return record.create_time, record.job_id
