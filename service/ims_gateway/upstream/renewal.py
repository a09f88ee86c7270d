"""Keys that end, and the ones that take their places in time.

Decides when a key is asked for and what holds while none can be had. A key is replaced after about
two thirds of its time, so that a third is left for more tries, after pauses that double up to a
minute. A key that cannot be replaced is used until just before it ends, and no longer: a call that
would be signed with it is not sent. A request never waits for a key.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from ims_gateway.threads import apart
from ims_gateway.upstream.credentials import Credentials, CredentialsUnavailable

# Parts of a key's time after which it is replaced: not of all accounts and replicas at once.
EARLIEST: Final = 0.6
LATEST: Final = 0.7
# A key is left alone so long before its end, or for the last quarter of its time: a call that is
# signed with it still has to get there, and clocks differ.
SECONDS_BEFORE_END: Final = 5.0
LAST_PART: Final = 4
# How soon a key is asked for again whose end nobody knows.
SECONDS_OF_ENDLESS: Final = 300.0
LONGEST_PAUSE_SECONDS: Final = 60.0
SHORTEST_PAUSE_SECONDS: Final = 1.0
# The providers' own time limits are for one exchange; a chain of them may be slow for long.
LONGEST_FETCH_SECONDS: Final = 60.0


class RenewedCredentials:
    """The newest key of one account, from a provider that hands out keys for a while.

    fetch: asks for a key and waits; raises CredentialsUnavailable. It is called in threads of its
    own, never twice at once. clock: seconds since the epoch. chance: a number from 0 to 1.
    """

    def __init__(
        self,
        fetch: Callable[[], Credentials],
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._chance = chance
        self._key: Credentials | None = None
        self._ends_at: float | None = None
        self._failures = 0
        self._problem: str | None = "no key has been asked for yet"

    @property
    def problem(self) -> str | None:
        """Why the last try to get a key failed; None where it did not. Holds no secret."""
        return self._problem

    @property
    def time_left_seconds(self) -> float | None:
        """How long the key is still good: 0 where there is none, None where it does not end."""
        if self._key is None:
            return 0.0
        return None if self._ends_at is None else max(0.0, self._ends_at - self._clock())

    def snapshot(self) -> Credentials:
        """Return the newest key. Raises CredentialsUnavailable where there is none that is good."""
        if self._key is None:
            raise CredentialsUnavailable(self._problem or "")
        if self._ends_at is not None and self._clock() >= self._ends_at:
            ended = datetime.fromtimestamp(self._ends_at, UTC).isoformat(timespec="seconds")
            raise CredentialsUnavailable(f"the key ended at {ended}: {self._problem}")
        return self._key

    async def renew(self) -> float:
        """Ask for a key once; return after how many seconds to ask again.

        A failure changes nothing but `problem`: the key of before stays until its end.
        """
        try:
            async with asyncio.timeout(LONGEST_FETCH_SECONDS):
                key = await apart("credentials", self._fetch)
            ends_at = self._end_of(key)
        except (CredentialsUnavailable, TimeoutError) as failure:
            self._problem = str(failure) or "no key in time"
            self._failures += 1
            return self._pause_seconds()
        self._key, self._ends_at = key, ends_at
        self._problem = None
        self._failures = 0
        return self._seconds_to_renewal()

    def _end_of(self, key: Credentials) -> float | None:
        """Return until when a key that just came is used. Raises CredentialsUnavailable."""
        if key.expires_at is None:
            return None
        expires_at = key.expires_at.timestamp()
        left = expires_at - self._clock()
        if left <= 0:
            raise CredentialsUnavailable("the key that came has ended already")
        return expires_at - min(SECONDS_BEFORE_END, left / LAST_PART)

    def _seconds_to_renewal(self) -> float:
        left = self.time_left_seconds
        part = EARLIEST + (LATEST - EARLIEST) * self._chance()
        return max(SHORTEST_PAUSE_SECONDS, part * (SECONDS_OF_ENDLESS if left is None else left))

    def _pause_seconds(self) -> float:
        longest = min(
            LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS * 2.0 ** min(self._failures, 10)
        )
        return longest * (1 + self._chance()) / 2
