"""The kinds of limit that a tenant's file can set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `per_second` submits a second on average, and `burst` at once (GCRA)."""

    id: str
    per_second: float
    burst: int
    metric: ClassVar[str] = "submit/rate"


@dataclass(frozen=True, slots=True)
class CountLimit:
    """At most `max` submits in each calendar day of the time zone (an IANA name)."""

    id: str
    max: int
    time_zone: str
    metric: ClassVar[str] = "submit/day"


Limit = RateLimit | CountLimit
