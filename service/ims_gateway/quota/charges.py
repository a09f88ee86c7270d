"""What a limit says about one more job: what it would take, what is left, or that there is no room.

Pure. What a limit has already given comes from the ledger, and what is decided here is written
there, by `jobs/admission.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ims_gateway.errors import LimitBreach, QuotaExceeded, RateExceeded
from ims_gateway.quota.gcra import decide, interval_of
from ims_gateway.quota.limits import (
    BudgetLimit,
    ConcurrencyLimit,
    Counted,
    Demand,
    Limit,
    RateLimit,
    dimensions_of,
)
from ims_gateway.quota.windows import ALWAYS, MICROSECONDS, Window

# When one of the open jobs ends, nobody knows; to ask again much sooner is of no use.
OPEN_JOBS_RETRY_SECONDS: Final = 5.0

# What a limit has given: a rate's TAT or a counter, by limit, bucket and period ("" of a rate).
Key = tuple[str, str, str]
Given = Mapping[Key, int]


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limit as it stands after a job: what is left, and when it is whole again.

    `remaining` is -1 where there was no room. `used` is what is taken, the job's own included;
    `taken` is the job's own. `window_seconds` is 0 where there is no window.
    """

    limit_id: str
    metric: str
    value: int
    remaining: int
    reset_time: int
    used: int = 0
    taken: int = 0
    window_seconds: int = 0
    dimensions: tuple[tuple[str, str], ...] = ()
    shadow: bool = False
    alerts: tuple[int, ...] = ()

    @property
    def alert(self) -> int | None:
        """The largest of the alerts, in percent, that this job has reached."""
        before = self.used - self.taken
        reached = [
            share for share in self.alerts if 100 * before < share * self.value <= 100 * self.used
        ]
        return max(reached, default=None)


@dataclass(frozen=True, slots=True)
class Charge:
    """What one limit says about one more job, and what is to be written: a TAT or an amount."""

    key: Key
    state: LimitState
    breach: LimitBreach | None
    tat: int | None = None
    amount: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What a job asks of one limit: which of the ledger's numbers, and in which window."""

    limit: Limit
    key: Key
    window: Window


def questions(demand: Demand, limits: Iterable[Limit], now: int) -> list[Question]:
    """Return what the job asks of each limit that covers it."""
    return [_question(limit, demand, now) for limit in limits if limit.covers(demand)]


def _question(limit: Limit, demand: Demand, now: int) -> Question:
    if isinstance(limit, RateLimit):
        return Question(limit, (limit.id, limit.bucket(demand), ""), ALWAYS)
    window = limit.window(now)
    return Question(limit, (limit.id, limit.bucket(demand), window.key), window)


def charge(asked: Question, demand: Demand, given: Given, now: int, rate_now: int) -> Charge:
    """Return what the limit says; `now` is the calendar's time, `rate_now` that of the rates."""
    limit, key = asked.limit, asked.key
    if isinstance(limit, RateLimit):
        return _charge_rate(limit, demand, key, given.get(key, 0), rate_now)
    return _charge_counted(limit, demand, asked, given.get(key, 0), now)


def state_of(limit: Limit, key: Key, given: int, now: int, rate_now: int) -> LimitState:
    """Return the limit as it stands, with no job in mind."""
    if isinstance(limit, RateLimit):
        interval = interval_of(limit.per_second)
        # What is asked is rounded up: a call that has not been refilled whole is used.
        used = min(limit.burst, -(-max(0, given - rate_now) // interval))
        return _rate_state(limit, key, limit.burst - used, max(given, rate_now), used=used)
    return _counted_state(limit, key, max(0, limit.max - given), limit.window(now), used=given)


def refuse_breaches(charges: Iterable[Charge], now: int) -> None:
    """Raise RateExceeded or QuotaExceeded where one of the limits has no room.

    Rate alone, if to wait for the rate is all that it takes. One in the shadow refuses nothing.
    """
    breaches = tuple(each.breach for each in charges if each.breach and not each.state.shadow)
    if any(breach.metric != RateLimit.metric for breach in breaches):
        raise QuotaExceeded(breaches, now)
    if breaches:
        raise RateExceeded(breaches, now)


def _charge_rate(limit: RateLimit, demand: Demand, key: Key, tat: int, now: int) -> Charge:
    decision = decide(tat, now, limit.per_second, limit.burst)
    remaining = decision.remaining if decision.fits else -1
    used = limit.burst - decision.remaining
    state = _rate_state(limit, key, remaining, decision.tat, used=used, taken=int(decision.fits))
    if decision.fits:
        return Charge(key, state, None, tat=decision.tat)
    return Charge(key, state, _breach(limit, demand, key, decision.retry_after / MICROSECONDS))


def _charge_counted(limit: Counted, demand: Demand, asked: Question, used: int, now: int) -> Charge:
    key, window = asked.key, asked.window
    amount = limit.amount(demand)
    # What costs nothing fits, however much has been spent.
    fits = amount == 0 or used + amount <= limit.max
    remaining = max(0, limit.max - used - amount) if fits else -1
    taken = amount if fits or limit.shadow else 0
    state = _counted_state(limit, key, remaining, window, used=used + taken, taken=taken)
    breach = None if fits else _breach(limit, demand, key, _wait(limit, amount, window, now))
    return Charge(key, state, breach, amount=amount)


def _rate_state(
    limit: RateLimit, key: Key, remaining: int, tat: int, *, used: int, taken: int = 0
) -> LimitState:
    return LimitState(
        limit.id,
        limit.metric,
        limit.burst,
        remaining,
        tat,
        used=used,
        taken=taken,
        window_seconds=math.ceil(limit.burst / limit.per_second),
        dimensions=dimensions_of(key[1]),
        shadow=limit.shadow,
    )


def _counted_state(
    limit: Counted, key: Key, remaining: int, window: Window, *, used: int, taken: int = 0
) -> LimitState:
    endless = window is ALWAYS
    return LimitState(
        limit.id,
        limit.metric,
        limit.max,
        remaining,
        0 if endless else window.end,
        used=used,
        taken=taken,
        window_seconds=0 if endless else (window.end - window.start) // MICROSECONDS,
        dimensions=dimensions_of(key[1]),
        shadow=limit.shadow,
        alerts=limit.alerts if isinstance(limit, BudgetLimit) else (),
    )


def _wait(limit: Counted, amount: int, window: Window, now: int) -> float | None:
    """Return how many seconds to wait, None where the limit never has room for so much."""
    if amount > limit.max:
        return None
    if isinstance(limit, ConcurrencyLimit):
        return OPEN_JOBS_RETRY_SECONDS
    return (window.end - now) / MICROSECONDS


def _breach(limit: Limit, demand: Demand, key: Key, wait: float | None) -> LimitBreach:
    value = limit.burst if isinstance(limit, RateLimit) else limit.max
    return LimitBreach(limit.id, limit.metric, value, demand.tenant, wait, dimensions_of(key[1]))
