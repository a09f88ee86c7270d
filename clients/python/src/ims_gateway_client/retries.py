"""When a failed call is made again.

Decides it for what the client repeats itself: a submit, always with its request_id, and a watch.
Reads are repeated by gRPC under the service config of channel.py, with the same figures. A call
that met a limit is never repeated: its caller decides.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from ims_gateway_client.errors import GatewayError


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double from the initial to the maximum one; attempts counts the first one too."""

    initial_seconds: float
    maximum_seconds: float
    attempts: int

    def pause_seconds(self, failures: int) -> float:
        """Return the pause after that many failures in a row, give or take a fifth."""
        pause = min(self.initial_seconds * 2.0 ** (failures - 1), self.maximum_seconds)
        return pause * random.uniform(0.8, 1.2)  # noqa: S311 - spreads callers, guards nothing


CALL = Backoff(initial_seconds=0.1, maximum_seconds=2.0, attempts=4)
# A gateway that was there comes back: a rolling restart is waited out for most of a minute.
RECONNECT = Backoff(initial_seconds=0.5, maximum_seconds=5.0, attempts=14)


class Attempts:
    """Counts the attempts at one piece of work, against a number and a deadline.

    timeout_seconds: for all attempts and pauses together; None for no limit.
    """

    def __init__(
        self, timeout_seconds: float | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._deadline = None if timeout_seconds is None else clock() + timeout_seconds
        self._backoff = CALL
        self._failures = 0

    def remaining_seconds(self) -> float | None:
        """Return what is left for the next attempt, or None where there is no limit."""
        return None if self._deadline is None else max(0.0, self._deadline - self._clock())

    def made_contact(self) -> None:
        """Begin to count anew, more patiently: the gateway is there."""
        self._backoff = RECONNECT
        self._failures = 0

    def pause_after(self, error: GatewayError) -> float:
        """Return how many seconds to pause before the next attempt; raise the error if none is due.

        The pause is never shorter than the gateway asked for (RetryInfo).
        """
        self._failures += 1
        pause = max(self._backoff.pause_seconds(self._failures), error.retry_after_seconds or 0.0)
        remaining = self.remaining_seconds()
        if self._failures >= self._backoff.attempts or (
            remaining is not None and pause > remaining
        ):
            raise error
        return pause
