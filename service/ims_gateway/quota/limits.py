"""The kinds of limit that a tenant's file can set, which jobs each covers, and how it counts them.

Amounts are integers: submits, open jobs, or money in micro-units of the price list's currency.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, TypeAlias

from ims_gateway.quota.windows import ALWAYS, Unit, Window, window_of

PRINCIPAL: Final = "principal"
ALGORITHM: Final = "algorithm"
Dimension = Literal["principal", "algorithm"]


@dataclass(frozen=True, slots=True)
class Demand:
    """What one job asks of the limits of its tenant.

    `principal` is the caller's name without the kind in front of it, `cost` is in micro-units.
    """

    tenant: str
    principal: str
    algorithm: str
    cost: int = 0


@dataclass(frozen=True, slots=True)
class Scope:
    """Which jobs a limit covers, and what it is counted for separately.

    Empty sets cover every principal, every algorithm.
    """

    principals: frozenset[str] = frozenset()
    algorithms: frozenset[str] = frozenset()
    per: frozenset[Dimension] = frozenset()

    def covers(self, principal: str, algorithm: str) -> bool:
        """Say whether the limit applies to such a job."""
        return (not self.principals or principal in self.principals) and (
            not self.algorithms or algorithm in self.algorithms
        )

    def bucket(self, principal: str, algorithm: str) -> str:
        """Return which of the limit's counts such a job goes to; empty where there is one."""
        # The algorithm first: its name has no comma, whatever a principal is called.
        parts = []
        if ALGORITHM in self.per:
            parts.append(f"{ALGORITHM}={algorithm}")
        if PRINCIPAL in self.per:
            parts.append(f"{PRINCIPAL}={principal}")
        return ",".join(parts)

    def __str__(self) -> str:
        """Spell it in one way: two scopes that are equal are one text."""
        parts = (self.principals, self.algorithms, self.per)
        return ";".join(",".join(sorted(part)) for part in parts)


EVERYTHING: Final = Scope()


def dimensions_of(bucket: str) -> tuple[tuple[str, str], ...]:
    """Return the dimensions that a bucket stands for, as pairs of name and value."""
    if not bucket:
        return ()
    first, comma, second = bucket.partition(",")
    if not first.startswith(f"{ALGORITHM}="):
        first, comma, second = bucket, "", ""
    parts = (first, second) if comma else (first,)
    return tuple((part.partition("=")[0], part.partition("=")[2]) for part in parts)


@dataclass(frozen=True, slots=True)
class _Limit:
    """What all kinds have.

    One in the `shadow` is counted and reported, and refuses nothing. `source` is where it is
    written, such as acme.yaml#limits[0].
    """

    id: str
    scope: Scope = field(default=EVERYTHING, kw_only=True)
    shadow: bool = field(default=False, kw_only=True)
    source: str = field(default="", kw_only=True, compare=False)

    def covers(self, demand: Demand) -> bool:
        """Say whether the limit applies to the job."""
        return self.scope.covers(demand.principal, demand.algorithm)

    def bucket(self, demand: Demand) -> str:
        """Return which of the limit's counts the job goes to."""
        return self.scope.bucket(demand.principal, demand.algorithm)


@dataclass(frozen=True, slots=True)
class RateLimit(_Limit):
    """At most `per_second` submits a second on average, and `burst` at once (GCRA)."""

    per_second: float
    burst: int
    metric: ClassVar[str] = "submit/rate"


@dataclass(frozen=True, slots=True)
class CountLimit(_Limit):
    """At most `max` submits in each calendar window of the time zone (an IANA name)."""

    max: int
    time_zone: str
    unit: Unit = "day"

    @property
    def metric(self) -> str:
        """What is limited."""
        return f"submit/{self.unit}"

    @property
    def definition(self) -> str:
        """What its counts depend on: another one counts other jobs together."""
        return f"{self.metric};{self.time_zone};{self.scope}"

    def window(self, now: int) -> Window:
        """Return the window of a moment, in microseconds since the epoch."""
        return window_of(self.unit, now, self.time_zone)

    def amount(self, demand: Demand) -> int:  # noqa: ARG002 - the shape of all that count
        """Return what the job takes of it."""
        return 1


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit(_Limit):
    """At most `max` jobs that have not ended."""

    max: int
    metric: ClassVar[str] = "jobs/open"

    @property
    def definition(self) -> str:
        """What its counts depend on: another one counts other jobs together."""
        return f"{self.metric};{self.scope}"

    def window(self, now: int) -> Window:  # noqa: ARG002 - the shape of all that count
        """Return the window that never ends."""
        return ALWAYS

    def amount(self, demand: Demand) -> int:  # noqa: ARG002 - the shape of all that count
        """Return what the job takes of it."""
        return 1


@dataclass(frozen=True, slots=True)
class BudgetLimit(_Limit):
    """At most `max` micro-units of money in each calendar window of the time zone.

    `alerts` are shares of it in percent: to reach one is worth a line in the log.
    """

    max: int
    time_zone: str
    unit: Unit = "month"
    alerts: tuple[int, ...] = ()

    @property
    def metric(self) -> str:
        """What is limited."""
        return f"cost/{self.unit}"

    @property
    def definition(self) -> str:
        """What its counts depend on: another one counts other jobs together."""
        return f"{self.metric};{self.time_zone};{self.scope}"

    def window(self, now: int) -> Window:
        """Return the window of a moment, in microseconds since the epoch."""
        return window_of(self.unit, now, self.time_zone)

    def amount(self, demand: Demand) -> int:
        """Return what the job takes of it."""
        return demand.cost


Counted: TypeAlias = CountLimit | ConcurrencyLimit | BudgetLimit
Limit: TypeAlias = RateLimit | Counted


def counted(limits: Iterable[Limit]) -> list[Counted]:
    """Return the limits that have counters: all but rates."""
    return [limit for limit in limits if not isinstance(limit, RateLimit)]
