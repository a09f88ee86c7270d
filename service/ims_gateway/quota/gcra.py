"""The generic cell rate algorithm, as arithmetic on integers.

One number a limit is kept: the theoretical arrival time (TAT), the microsecond at which the bucket
is empty again. Nothing here reads a clock or keeps state.
"""

from __future__ import annotations

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
    interval = max(1, round(MICROSECONDS / per_second))
    capacity = interval * burst
    # A clock that stepped back must not leave the bucket full for longer than one whole refill.
    tat = min(max(tat, now), now + capacity)
    after = tat + interval
    if after - now > capacity:
        return RateDecision(fits=False, tat=tat, remaining=0, retry_after=after - now - capacity)
    remaining = (now + capacity - after) // interval
    return RateDecision(fits=True, tat=after, remaining=remaining, retry_after=0)
