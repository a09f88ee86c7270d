"""What the calls of this process need of an account, seen over the last seconds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ims_gateway.upstream.turns import Standing

# A look at less says more about chance than about need.
PERIOD_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Demand:
    """`in_flight` is now; `places` and `per_second` would be enough for all calls.

    `weight` is that of all tenants that have had calls, or wait.
    """

    in_flight: int
    places: int
    per_second: float
    weight: int


class Usage:
    """Counts one period, and remembers what the one before has come to."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._most = 0
        self._calls = 0
        self._tenants: dict[str, int] = {}
        self._before = Demand(0, 0, 0.0, 0)

    def count(self, in_flight: int, standing: Standing) -> None:
        """Count a call; so many are in flight with it."""
        self._most = max(self._most, in_flight)
        self._calls += 1
        self._tenants[standing.tenant] = standing.weight

    def demand(
        self, now: float, in_flight: int, weights: Mapping[str, int], waiting: int
    ) -> Demand:
        """Return the demand at present, where tenants of these weights wait with so many calls."""
        seconds = max(now - self._began, PERIOD_SECONDS)
        present = Demand(
            in_flight=in_flight,
            places=max(self._most, in_flight + waiting),
            per_second=(self._calls + waiting) / seconds,
            weight=sum({**self._tenants, **weights}.values()),
        )
        demand = Demand(
            in_flight=in_flight,
            places=max(present.places, self._before.places),
            per_second=max(present.per_second, self._before.per_second),
            weight=max(present.weight, self._before.weight),
        )
        if now - self._began >= PERIOD_SECONDS:
            self._before = present
            self._began, self._most, self._calls, self._tenants = now, in_flight, 0, {}
        return demand
