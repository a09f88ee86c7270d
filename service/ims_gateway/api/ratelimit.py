"""The `ratelimit` and `ratelimit-policy` trailing metadata: how much is left, and by which limits.

Spelled as the IETF's RateLimit header fields are (draft-ietf-httpapi-ratelimit-headers): each limit
an item, q what it has, w its window and t the time until it is whole again, in seconds, r what is
left. Limits on trial are nobody's business yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from ims_gateway.errors import LimitExceeded
from ims_gateway.quota.charges import LimitState
from ims_gateway.quota.limits import ConcurrencyLimit
from ims_gateway.quota.windows import MICROSECONDS

# Trailers have 8 KiB, and a status may need most of it. What is nearest to its end goes first.
MOST_LIMITS: Final = 16
CONCURRENT: Final = 'qu="concurrent-requests"'

Metadata = tuple[tuple[str, str], ...]


def of_admission(limits: Sequence[LimitState], now: int) -> Metadata:
    """Return the metadata of a call that was admitted; `now` is in microseconds since the epoch."""
    enforced = [limit for limit in limits if not limit.shadow]
    nearest = sorted(enforced, key=lambda limit: limit.remaining / max(1, limit.value))
    shown = nearest[:MOST_LIMITS]
    return _metadata(
        (_item(each.limit_id, f"q={each.value}", _window(each)) for each in shown),
        (
            _item(each.limit_id, f"r={max(0, each.remaining)}", _until(each.reset_time, now))
            for each in shown
        ),
    )


def of_refusal(refusal: LimitExceeded) -> Metadata:
    """Return the metadata of a call that was refused by limits."""
    shown = refusal.breaches[:MOST_LIMITS]
    return _metadata(
        (_item(each.limit_id, f"q={each.value}", "") for each in shown),
        (_item(each.limit_id, "r=0", _seconds(each.retry_after_seconds)) for each in shown),
    )


def _metadata(policies: Iterable[str], states: Iterable[str]) -> Metadata:
    pairs = (("ratelimit-policy", ", ".join(policies)), ("ratelimit", ", ".join(states)))
    return tuple(pair for pair in pairs if pair[1])


def _item(limit_id: str, *parameters: str) -> str:
    return ";".join([f'"{limit_id}"', *filter(None, parameters)])


def _window(limit: LimitState) -> str:
    if limit.metric == ConcurrencyLimit.metric:
        return CONCURRENT
    return f"w={limit.window_seconds}"


def _until(reset_time: int, now: int) -> str:
    return _seconds(max(0, reset_time - now) / MICROSECONDS) if reset_time else ""


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"t={math.ceil(seconds)}"
