"""How fast an account's calls may follow each other: its rate, lowered where the service throttles.

A throttle halves the rate at which calls were really made; then it grows evenly, until a minute has
passed without another one (additive increase, multiplicative decrease). Pure: times are seconds of
one clock that never goes back.
"""

from __future__ import annotations

import math
from typing import Final

# What an account may send at once after a pause, in seconds of its rate; one call at the least.
BURST_SECONDS: Final = 0.1
RECOVERY_SECONDS: Final = 60.0
# Of the rate at the last throttle, regained in each second.
REGAINED: Final = 0.1
LEAST_PER_SECOND: Final = 1.0
# The service may ask for an hour; nobody would learn that it is over.
LONGEST_PAUSE_SECONDS: Final = 30.0
# Less than any timer can tell apart.
INSTANT_SECONDS: Final = 1e-6


class Rate:
    """The calls of one account in this process. `share` is the most a second, infinite for any."""

    def __init__(self, share: float = math.inf) -> None:
        self._share = share
        self._next = 0.0
        self._paused_until = 0.0
        self._made = 0.0
        self._made_at = 0.0
        self._throttled_at = -math.inf
        self._throttled_to = 0.0
        self._regained = 0.0

    def per_second(self, now: float, at_least: float = 0.0) -> float:
        """Return how many calls a second are allowed now; infinite where nothing limits them.

        With a share of `at_least` so much, that is.
        """
        share = max(self._share, at_least)
        if not self.throttled(now):
            return share
        return min(share, self._throttled_to + self._regained * (now - self._throttled_at))

    def change_share(self, share: float, now: float) -> None:
        """Let there be another most; what is owed for calls made is owed at the new rate."""
        before = self.per_second(now)
        self._share = share
        after = self.per_second(now)
        if self._next > now and 0 < before < math.inf and after > 0:
            self._next = now + (self._next - now) * before / after

    def throttled(self, now: float) -> bool:
        """Return whether the rate is still lower for what the service has said."""
        return now - self._throttled_at < RECOVERY_SECONDS

    def seconds_to_next(self, now: float) -> float:
        """Return how long the next call has to wait; infinitely for a share of 0."""
        rate = self.per_second(now)
        if rate <= 0:
            return math.inf
        burst = max(0.0, BURST_SECONDS - 1 / rate)
        seconds = max(self._paused_until, self._next - burst) - now
        return seconds if seconds > INSTANT_SECONDS else 0.0

    def take(self, now: float) -> None:
        """Note that a call is made."""
        self._made = self._recent(now) + 1
        self._made_at = now
        self._next = max(self._next, now) + 1 / self.per_second(now)

    def give_back(self, now: float) -> None:
        """Note that a call was not made after all."""
        self._made = max(0.0, self._recent(now) - 1)
        self._made_at = now
        if (rate := self.per_second(now)) > 0:
            self._next -= 1 / rate

    def throttle(self, now: float, *, sent_at: float, pause_seconds: float) -> bool:
        """Lower the rate; return whether that is news.

        The call was `sent_at`: of many calls at once all are throttled, and only the first counts.
        """
        pause = min(pause_seconds, LONGEST_PAUSE_SECONDS)
        self._paused_until = max(self._paused_until, now + pause)
        if sent_at <= self._throttled_at:
            return False
        news = not self.throttled(now)
        base = min(self.per_second(now), max(self._recent(now), LEAST_PER_SECOND))
        self._throttled_at = now
        self._throttled_to = max(base / 2, LEAST_PER_SECOND)
        self._regained = base * REGAINED
        return news

    def _recent(self, now: float) -> float:
        """Return how many calls were made in about the last second."""
        return self._made * math.exp(self._made_at - now)
