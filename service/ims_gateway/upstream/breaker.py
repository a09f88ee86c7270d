"""Whether an account's service is there at all.

Opens when several calls in a row did not reach it, and then lets one call out now and again to find
out. Never opens because of an answer: a service that refuses a job, or throttles, is there. Pure
but for its log: times are seconds of one clock that never goes back.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import structlog

# Unreached in a row until it opens.
FAILURES: Final = 5
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0

log = structlog.get_logger()


class Condition(StrEnum):
    """As circuit breakers have them."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


class Breaker:
    """The breaker of one account in this process."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._failures = 0
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._probe_at = 0.0
        self.condition = Condition.CLOSED

    def seconds_to_try(self, now: float) -> float:
        """Return how long no call may go out: 0 where the next one may.

        While a probe is under way, a pause: what it finds out is not known yet.
        """
        if self.condition is Condition.CLOSED:
            return 0.0
        if self.condition is Condition.HALF_OPEN:
            return FIRST_PAUSE_SECONDS
        return max(0.0, self._probe_at - now)

    def take(self) -> bool:
        """Note that a call goes out; return whether it is the probe."""
        probes = self.condition is Condition.OPEN
        if probes:
            self._turn(Condition.HALF_OPEN)
        return probes

    def give_up_probe(self, now: float) -> None:
        """Note that the probe has ended; where it found nothing out, the next call is another."""
        if self.condition is Condition.HALF_OPEN:
            self._open(now, 0.0)

    def reached(self) -> None:
        """Note that the service was there."""
        self._failures = 0
        if self.condition is not Condition.CLOSED:
            self._pause_seconds = FIRST_PAUSE_SECONDS
            self._turn(Condition.CLOSED)

    def unreached(self, now: float) -> None:
        """Note that the service could not be reached."""
        self._failures += 1
        if self.condition is Condition.HALF_OPEN:
            self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
            self._open(now, self._pause_seconds)
        elif self.condition is Condition.CLOSED and self._failures >= FAILURES:
            self._open(now, self._pause_seconds)

    def _open(self, now: float, pause_seconds: float) -> None:
        self._probe_at = now + pause_seconds
        self._turn(Condition.OPEN)

    def _turn(self, condition: Condition) -> None:
        self.condition = condition
        level = log.info if condition is Condition.CLOSED else log.warning
        level("upstream breaker", account=self._account, condition=condition.value)
