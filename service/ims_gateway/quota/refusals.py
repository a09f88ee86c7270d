"""Remembers until when a rate has no room, so that a flood of calls costs the ledger nothing.

What it decides: that a call would be refused by the ledger for certain. It never admits one. A
limit that was changed is another limit here, so that what is remembered of it counts no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ims_gateway.errors import LimitBreach, RateExceeded
from ims_gateway.quota.gcra import MICROSECONDS
from ims_gateway.quota.limits import Demand, Limit, RateLimit

# Of each kind of memory: some megabytes. The oldest go first, and cost a look into the ledger.
MOST_REMEMBERED: Final = 10_000


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
        self._full: dict[tuple[str, RateLimit, str], _Full] = {}
        self._known: dict[tuple[str, str], None] = {}

    def check(self, demand: Demand, limits: Sequence[Limit], request_id: str, now: int) -> None:
        """Raise RateExceeded if one of the rates still has no room.

        A request whose job is known goes through: it is recalled, and takes nothing.
        """
        if not self._full or (demand.tenant, request_id) in self._known:
            return
        found = [
            full
            for limit in limits
            if isinstance(limit, RateLimit) and limit.covers(demand)
            if (full := self._full.get((demand.tenant, limit, limit.bucket(demand))))
            # Before `since`: the clock has stepped back, and says nothing about the bucket.
            if full.since <= now < full.until
        ]
        if found:
            raise RateExceeded(tuple(_still(full, now) for full in found), now)

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

    def know(self, tenant: str, request_id: str) -> None:
        """Remember that the request id has a job."""
        self._known[tenant, request_id] = None
        _forget_oldest(self._known, self._most)


def _forget_oldest(memory: dict[Any, Any], most: int) -> None:
    while len(memory) > most:
        del memory[next(iter(memory))]


def _still(full: _Full, now: int) -> LimitBreach:
    breach = full.breach
    wait = (full.until - now) / MICROSECONDS
    return LimitBreach(
        breach.limit_id, breach.metric, breach.value, breach.tenant, wait, breach.dimensions
    )
