"""Which open jobs are asked about, when, and by which process: claims and budgets.

A claim is a job's `poller`, and its `next_poll_time` is when the claim ends: a process that dies
loses its jobs to another. All that several processes have to agree on is in the ledger. Each
function is a part of one of its transactions; times are microseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ims_gateway.jobs import rows
from ims_gateway.jobs.database import Connection
from ims_gateway.jobs.pace import LONGEST_BACKOFF_SECONDS, MICROSECONDS, Budget
from ims_gateway.jobs.record import JobRecord

# Longer than a query and what is written after it may take.
CLAIM_MICROSECONDS: Final = 30 * MICROSECONDS

# A pause longer than any means that the clock stepped back.
LONGEST_PAUSE: Final = round(2 * LONGEST_BACKOFF_SECONDS * MICROSECONDS)

IS_DUE: Final = """
SELECT job_id FROM jobs WHERE account = :account AND next_poll_time <= :now
AND NOT EXISTS (SELECT 1 FROM poll_budgets WHERE poll_budgets.account = jobs.account
    AND paused_until > :now AND paused_until <= :longest)
LIMIT 1
"""
# An update, since that keeps other processes from the account until the claim is committed.
BUDGET: Final = """
INSERT INTO poll_budgets (account, tat, paused_until) VALUES (:account, 0, 0)
ON CONFLICT (account) DO UPDATE SET tat = poll_budgets.tat
RETURNING tat, paused_until
"""
SPEND: Final = "UPDATE poll_budgets SET tat = :tat WHERE account = :account"
CLAIM: Final = f"""
UPDATE jobs SET poller = :poller, next_poll_time = :claimed_until WHERE job_id IN (
    SELECT job_id FROM jobs WHERE account = :account AND next_poll_time <= :now
    ORDER BY next_poll_time LIMIT :count)
RETURNING {rows.COLUMNS}
"""  # noqa: S608 - of column names
PUT_OFF: Final = """
UPDATE jobs SET poller = NULL, next_poll_time = :time
WHERE job_id = :job_id AND poller = :poller AND next_poll_time IS NOT NULL
"""
# Not what a process asks about just now, nor what is overdue: that has its own pace.
HASTEN: Final = """
UPDATE jobs SET next_poll_time = :soon
WHERE job_id IN ({}) AND next_poll_time > :soon AND poller IS NULL AND overdue_time IS NULL
"""
PAUSE: Final = """
INSERT INTO poll_budgets (account, tat, paused_until) VALUES (:account, 0, :until)
ON CONFLICT (account) DO UPDATE SET paused_until = CASE
    WHEN poll_budgets.paused_until > excluded.paused_until
    THEN poll_budgets.paused_until ELSE excluded.paused_until END
"""
NOTE_OVERDUE: Final = """
UPDATE jobs SET overdue_time = :now WHERE job_id = :job_id AND overdue_time IS NULL
RETURNING job_id
"""
RELEASE: Final = """
UPDATE jobs SET poller = NULL, next_poll_time = :now
WHERE account = :account AND next_poll_time > :now AND poller = :poller
"""
# No job waits for so long: its time was written by a clock that was ahead.
CALL_BACK: Final = """
UPDATE jobs SET poller = NULL, next_poll_time = :now
WHERE account = :account AND next_poll_time > :longest
"""
BACKLOG: Final = """
SELECT account, COUNT(*) AS jobs FROM jobs WHERE next_poll_time IS NOT NULL GROUP BY account
"""


def accounts_due(db: Connection, accounts: Iterable[str], now: int) -> list[str]:
    """Return the accounts that have jobs to be asked about, and do not pause."""
    times = {"now": now, "longest": now + LONGEST_PAUSE}
    return [
        account
        for account in accounts
        if db.execute(IS_DUE, {"account": account, **times}).fetchone()
    ]


def claim(
    db: Connection, now: int, *, account: str, budget: Budget, most: int, poller: str
) -> list[JobRecord]:
    """Claim the jobs of an account that are due for longest, as far as its budget goes."""
    spent = db.execute(BUDGET, {"account": account}).fetchone()
    if now < spent["paused_until"] <= now + LONGEST_PAUSE:
        return []
    values = {
        "account": account,
        "poller": poller,
        "now": now,
        "claimed_until": now + CLAIM_MICROSECONDS,
        "count": min(most, budget.affordable(spent["tat"], now)),
    }
    claimed = [rows.record_of(row) for row in db.execute(CLAIM, values).fetchall()]
    tat = budget.begun(spent["tat"], now) + len(claimed) * budget.interval
    db.execute(SPEND, {"account": account, "tat": tat})
    return claimed


def put_off(db: Connection, job_id: str, poller: str, time: int) -> None:
    """Give a claim back: the job is due at the given time."""
    db.execute(PUT_OFF, {"job_id": job_id, "poller": poller, "time": time})


def hasten(db: Connection, job_ids: Sequence[str], soon: int) -> None:
    """Have these jobs be due at the given time, if they would be later."""
    names, values = rows.listed("job", sorted(job_ids))
    db.execute(HASTEN.format(names), {**values, "soon": soon})


def pause(db: Connection, account: str, until: int) -> None:
    """Let no process poll for the account until the given time."""
    db.execute(PAUSE, {"account": account, "until": until})


def note_overdue(db: Connection, job_id: str, now: int) -> bool:
    """Note that the job is overdue; say whether nobody had noted it before."""
    return db.execute(NOTE_OVERDUE, {"job_id": job_id, "now": now}).fetchone() is not None


def release(db: Connection, poller: str, accounts: Iterable[str], now: int) -> None:
    """Give all claims of a process back, due at once."""
    for account in accounts:
        db.execute(RELEASE, {"poller": poller, "account": account, "now": now})


def call_back(db: Connection, accounts: Iterable[str], now: int) -> None:
    """Have jobs be due at once that a wrong clock has put off into a far future."""
    for account in accounts:
        values = {"account": account, "now": now, "longest": now + LONGEST_PAUSE}
        db.execute(CALL_BACK, values)


def backlog(db: Connection) -> dict[str, int]:
    """Return how many open jobs each account has."""
    return {row["account"]: row["jobs"] for row in db.execute(BACKLOG)}
