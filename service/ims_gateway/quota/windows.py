"""Calendar windows: which hour, day, week or month a moment belongs to, in a tenant's time zone.

A window is named by the date or hour that it begins with and, unless that is UTC, by the zone's
offset then: two windows have one name only if they begin at one moment, so a tenant that changes
its zone does not mix up two days.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, Literal, assert_never
from zoneinfo import ZoneInfo

MICROSECONDS: Final = 1_000_000
HOUR: Final = 3600 * MICROSECONDS
# Every window of every zone begins with a quarter of an hour of UTC.
QUARTER: Final = 900 * MICROSECONDS
Unit = Literal["hour", "day", "week", "month"]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, in microseconds since the epoch; `end` is the first moment after it.

    `key` names the window for the counter that belongs to it.
    """

    key: str
    start: int
    end: int


# What has no window: jobs that are open now, whenever they began.
ALWAYS: Final = Window("open", 0, 2**62)


def window_of(unit: Unit, now: int, time_zone: str) -> Window:
    """Return the calendar window in which `now` (microseconds since the epoch) lies.

    Weeks begin on Monday. A day with a daylight-saving change has 23 or 25 hours; an hour that the
    clock goes through twice is two windows.
    """
    return _of_quarter(unit, now // QUARTER, time_zone)


@lru_cache(maxsize=4096)
def _of_quarter(unit: Unit, quarter: int, time_zone: str) -> Window:
    """Return the window of a quarter of an hour: it lies in one as a whole."""
    now = quarter * QUARTER
    if unit == "hour":
        return _hour_of(now, ZoneInfo(time_zone))
    day = datetime.fromtimestamp(now // MICROSECONDS, ZoneInfo(time_zone)).date()
    return _calendar(unit, day, time_zone)


def day_window(day: date, time_zone: str) -> Window:
    """Return the window of a day."""
    return _calendar("day", day, time_zone)


@lru_cache(maxsize=4096)
def _calendar(unit: Literal["day", "week", "month"], day: date, time_zone: str) -> Window:
    zone = ZoneInfo(time_zone)
    match unit:
        case "day":
            first, after = day, day + timedelta(days=1)
        case "week":
            first = day - timedelta(days=day.weekday())
            after = first + timedelta(days=7)
        case "month":
            first = day.replace(day=1)
            after = (first + timedelta(days=31)).replace(day=1)
        case _:
            assert_never(unit)
    start = datetime.combine(first, time.min, zone)
    name = f"{first:%Y-%m}" if unit == "month" else first.isoformat()
    end = _microseconds(datetime.combine(after, time.min, zone))
    return Window(f"{unit}:{name}{_offset_name(_offset(start))}", _microseconds(start), end)


def _hour_of(now: int, zone: ZoneInfo) -> Window:
    """Return the hour on the wall's clock, cut off where that clock is moved."""
    offset = _offset_at(now, zone)
    start = (now + offset) // HOUR * HOUR - offset
    end = start + HOUR
    if _offset_at(start, zone) != offset:
        start = _change(start, now, zone)
    if _offset_at(end - 1, zone) != offset:
        end = _change(now, end - 1, zone)
    begin = datetime.fromtimestamp(start / MICROSECONDS, zone)
    minute = f":{begin:%M}" if begin.minute else ""
    return Window(f"hour:{begin:%Y-%m-%dT%H}{minute}{_offset_name(offset)}", start, end)


def _change(before: int, after: int, zone: ZoneInfo) -> int:
    """Return the first moment of the offset that holds `after`, and does not hold `before`."""
    offset = _offset_at(after, zone)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset_at(middle, zone) == offset:
            after = middle
        else:
            before = middle
    return after


def _offset_at(moment: int, zone: ZoneInfo) -> int:
    # Whole seconds: a float of microseconds would be rounded across the moment of a change.
    return _offset(datetime.fromtimestamp(moment // MICROSECONDS, zone))


def _offset(moment: datetime) -> int:
    return (moment.utcoffset() or timedelta()) // timedelta(microseconds=1)


def _offset_name(offset: int) -> str:
    if not offset:
        return ""
    hours, minutes = divmod(abs(offset) // (60 * MICROSECONDS), 60)
    return f"{'-' if offset < 0 else '+'}{hours:02}:{minutes:02}"


def _microseconds(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp()) * MICROSECONDS
