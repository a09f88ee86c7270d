"""The single-use guard: which signature nonces have been seen.

Decides whether a nonce is new. Never verifies anything else.
"""

from collections import deque


class Nonces:
    """Remembers nonces for as long as a call that carries one could still be in time.

    A date may lie one window ahead of the clock and is good for one window after itself, so
    a nonce is kept for two windows. Kept for only one, a call dated ahead could be replayed.
    """

    def __init__(self, window_seconds: float) -> None:
        self._keep_seconds = 2 * window_seconds
        self._seen: set[tuple[str, str]] = set()
        self._arrivals: deque[tuple[float, tuple[str, str]]] = deque()

    def __len__(self) -> int:
        return len(self._seen)

    def spend(self, access_key_id: str, nonce: str, now: float) -> bool:
        """Return whether this key uses this nonce for the first time, and remember it."""
        self._forget(now)
        mark = (access_key_id, nonce)
        if mark in self._seen:
            return False
        self._seen.add(mark)
        self._arrivals.append((now, mark))
        return True

    def clear(self) -> None:
        """Forget every nonce."""
        self._seen.clear()
        self._arrivals.clear()

    def _forget(self, now: float) -> None:
        while self._arrivals and now - self._arrivals[0][0] > self._keep_seconds:
            self._seen.discard(self._arrivals.popleft()[1])
