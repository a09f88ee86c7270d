"""How soon a job is asked about again, and an account after a call that failed. Pure.

Times are microseconds since the epoch.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MICROSECONDS: Final = 1_000_000
# An old job is asked about less often: after a tenth of its age, but at least once a minute.
SHARE_OF_AGE: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 60.0
# What the service may ask for with x-acs-retry-after is an hour; a job would then be late by one.
LONGEST_BACKOFF_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Budget:
    """How many polls of an account are made: a bucket that one second fills (GCRA).

    `tat` is the theoretical arrival time: when the bucket is empty again.
    """

    per_second: float

    @property
    def interval(self) -> int:
        """What one poll costs, rounded up so that the rate is never exceeded."""
        return math.ceil(MICROSECONDS / self.per_second)

    @property
    def capacity(self) -> int:
        """How far `tat` can be ahead: a second's polls, and at least one."""
        return self.interval * max(1, math.floor(self.per_second))

    def affordable(self, tat: int, now: int) -> int:
        """Return how many polls can be made now."""
        return (now + self.capacity - self.begun(tat, now)) // self.interval

    def begun(self, tat: int, now: int) -> int:
        """Return the arrival time to count from; a clock that stepped back does not stop polls."""
        return min(max(tat, now), now + self.capacity)


@dataclass(frozen=True, slots=True)
class Pace:
    """How soon a job is asked about again: `spread` gives a random factor between two bounds."""

    interval_seconds: float
    overdue_seconds: float
    spread: Callable[[float, float], float] = random.uniform

    def pause(self, age_seconds: float = 0.0) -> int:
        """Return the pause of a job of this age, in microseconds."""
        if age_seconds > self.overdue_seconds:
            return self.longest()
        seconds = max(self.interval_seconds, age_seconds * SHARE_OF_AGE)
        return self._about(min(seconds, LONGEST_PAUSE_SECONDS))

    def longest(self) -> int:
        """Return the pause of a job that is overdue, or cannot be read."""
        return self._about(LONGEST_PAUSE_SECONDS)

    def _about(self, seconds: float) -> int:
        # Jobs that were submitted at once drift apart.
        return round(seconds * self.spread(0.9, 1.1) * MICROSECONDS)


class Backoff:
    """The failures of one account in a row: each doubles the pause."""

    def __init__(self, first_seconds: float, spread: Callable[[float, float], float]) -> None:
        self._first_seconds = first_seconds
        self._spread = spread
        self._failures = 0
        self._until = 0

    def succeed(self) -> None:
        """Note that the service answers."""
        self._failures = 0

    def fail(self, sent: int, now: int, at_least_seconds: float) -> int | None:
        """Return until when the account's polls have to pause.

        None where the call was sent before the last pause ended: of many calls at once, all fail.
        """
        if sent < self._until:
            return None
        doubled = self._first_seconds * 2.0 ** min(self._failures, 16)
        pause = max(min(doubled, LONGEST_PAUSE_SECONDS), at_least_seconds)
        self._failures += 1
        # Never shorter than what the service asks for.
        seconds = min(pause * self._spread(1.0, 1.2), LONGEST_BACKOFF_SECONDS)
        self._until = now + round(seconds * MICROSECONDS)
        return self._until
