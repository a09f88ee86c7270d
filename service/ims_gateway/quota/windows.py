"""Calendar windows: which day a moment belongs to, in a tenant's own time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, in microseconds since the epoch; `end` is the first moment after it.

    `key` names the window for the counter that belongs to it.
    """

    key: str
    start: int
    end: int


def day_of(now: int, time_zone: str) -> Window:
    """Return the calendar day in which `now` (microseconds since the epoch) lies.

    A day with a daylight-saving change has 23 or 25 hours.
    """
    date = datetime.fromtimestamp(now / MICROSECONDS, ZoneInfo(time_zone)).date()
    return _day(date.isoformat(), time_zone)


@lru_cache(maxsize=4096)
def _day(date: str, time_zone: str) -> Window:
    zone = ZoneInfo(time_zone)
    first = datetime.combine(datetime.fromisoformat(date).date(), time.min, zone)
    after = datetime.combine(first.date() + timedelta(days=1), time.min, zone)
    return Window(f"day:{date}", _microseconds(first), _microseconds(after))


def _microseconds(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp()) * MICROSECONDS
