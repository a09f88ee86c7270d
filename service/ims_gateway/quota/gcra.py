"""The generic cell rate algorithm, as arithmetic on integers.

One number a limit is kept: the theoretical arrival time (TAT), the microsecond at which the bucket
is empty again. Nothing here reads a clock or keeps state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class RateDecision:
    """Whether one more call fits, the TAT after it, and what is left.

    Times are microseconds since the epoch. `tat` is unchanged where the call does not fit.
    """

    fits: bool
    tat: int
    remaining: int
    retry_after: int


def decide(tat: int, now: int, per_second: float, burst: int) -> RateDecision:
    """Decide about one call at `now` for a bucket of `burst` that refills at `per_second`."""
    interval = interval_of(per_second)
    capacity = interval * burst
    if tat > now + capacity:
        # No bucket gets this full: the clock stepped back, or the limit was lowered. The full
        # bucket has to be written down, or it stays full until the clock is back where it was;
        # and only a call that fits writes.
        tat = now + capacity - interval
    tat = max(tat, now)
    after = tat + interval
    if after - now > capacity:
        return RateDecision(fits=False, tat=tat, remaining=0, retry_after=after - now - capacity)
    remaining = (now + capacity - after) // interval
    return RateDecision(fits=True, tat=after, remaining=remaining, retry_after=0)


def interval_of(per_second: float) -> int:
    """Return how long one call takes up, in microseconds."""
    # Rounded up: an interval that is a microsecond short lets more than the rate through.
    return math.ceil(MICROSECONDS / per_second)
