"""Remembers until when a rate has no room, so that a flood of calls costs the ledger nothing.

When the time has come, as many calls are let through to the ledger as can have room there, and not
all that wait: each moves the time on by what it takes. What it decides is only ever that a call
would be refused; it admits none. A limit that was changed is another limit here, so what is
remembered of it counts no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from ims_gateway.errors import LimitBreach, RateExceeded
from ims_gateway.quota.gcra import MICROSECONDS, interval_of
from ims_gateway.quota.limits import Demand, Limit, RateLimit

# Of each kind of memory: some megabytes. The oldest go first, and cost a look into the ledger.
MOST_REMEMBERED: Final = 10_000


_Key: TypeAlias = tuple[str, RateLimit, str]


@dataclass(frozen=True, slots=True)
class _Full:
    """A bucket without room from one moment to another, by this process's clock."""

    since: int
    until: int
    breach: LimitBreach


class Refusals:
    """What one process knows of rates, and of request ids whose jobs it has seen."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._full: dict[_Key, _Full] = {}
        self._known: dict[tuple[str, str], None] = {}

    def check(self, demand: Demand, limits: Sequence[Limit], request_id: str, now: int) -> None:
        """Raise RateExceeded if one of the rates still has no room.

        A request whose job is known goes through: it is recalled, and takes nothing.
        """
        if not self._full or (demand.tenant, request_id) in self._known:
            return
        found = [
            (key, full)
            for key in _keys(demand, limits)
            if (full := self._full.get(key)) is not None
        ]
        # Before `since`: the clock has stepped back, and says nothing about the bucket.
        refusing = [full for _, full in found if full.since <= now < full.until]
        if refusing:
            raise RateExceeded(tuple(_still(full, now) for full in refusing), now)
        for key, full in found:
            if now < full.since:
                del self._full[key]
            else:
                self._full[key] = replace(full, until=_next(key[1], full.until, now))

    def note(self, demand: Demand, limits: Sequence[Limit], refusal: RateExceeded) -> None:
        """Remember what the ledger has said."""
        rates = {limit.id: limit for limit in limits if isinstance(limit, RateLimit)}
        for breach in refusal.breaches:
            limit = rates[breach.limit_id]
            wait = round((breach.retry_after_seconds or 0) * MICROSECONDS)
            key = (demand.tenant, limit, limit.bucket(demand))
            self._full.pop(key, None)
            self._full[key] = _Full(refusal.time, refusal.time + wait, breach)
        _forget_oldest(self._full, self._most)

    def forget(self, demand: Demand, limits: Sequence[Limit]) -> None:
        """Let the next call ask the ledger: one that was let through took nothing after all."""
        if self._full:
            for key in _keys(demand, limits):
                self._full.pop(key, None)

    def know(self, tenant: str, request_id: str) -> None:
        """Remember that the request id has a job."""
        self._known[tenant, request_id] = None
        _forget_oldest(self._known, self._most)


def _keys(demand: Demand, limits: Sequence[Limit]) -> list[_Key]:
    return [
        (demand.tenant, limit, limit.bucket(demand))
        for limit in limits
        if isinstance(limit, RateLimit) and limit.covers(demand)
    ]


def _next(limit: RateLimit, until: int, now: int) -> int:
    """Return when there can be room for one more, after a call that was let through at `now`."""
    interval = interval_of(limit.per_second)
    return max(until, now - (limit.burst - 1) * interval) + interval


def _forget_oldest(memory: dict[Any, Any], most: int) -> None:
    while len(memory) > most:
        del memory[next(iter(memory))]


def _still(full: _Full, now: int) -> LimitBreach:
    return replace(full.breach, retry_after_seconds=(full.until - now) / MICROSECONDS)
