"""A day is the tenant's own calendar day, however long it is."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ims_gateway.quota.windows import MICROSECONDS, day_of

HOUR = 3600 * MICROSECONDS
# Zone, day, its first moment in UTC, its length in hours, and what is special about it.
DAYS = [
    ("UTC", "2025-06-15", "2025-06-15T00:00:00", 24, "plain"),
    ("UTC", "2025-01-31", "2025-01-31T00:00:00", 24, "end of a month"),
    ("UTC", "2025-12-31", "2025-12-31T00:00:00", 24, "end of a year"),
    ("UTC", "2024-02-29", "2024-02-29T00:00:00", 24, "leap day"),
    ("UTC", "2025-02-28", "2025-02-28T00:00:00", 24, "no leap day"),
    ("Asia/Shanghai", "2025-01-01", "2024-12-31T16:00:00", 24, "another year in UTC"),
    ("Asia/Kathmandu", "2025-01-01", "2024-12-31T18:15:00", 24, "an odd offset"),
    ("Europe/Berlin", "2025-03-30", "2025-03-29T23:00:00", 23, "forward at two"),
    ("Europe/Berlin", "2025-10-26", "2025-10-25T22:00:00", 25, "back at three"),
    ("America/New_York", "2025-03-09", "2025-03-09T05:00:00", 23, "forward at two"),
    ("America/New_York", "2025-11-02", "2025-11-02T04:00:00", 25, "back at two"),
    ("Australia/Lord_Howe", "2025-04-06", "2025-04-05T13:00:00", 24.5, "back by half an hour"),
    ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00", 23, "no midnight"),
    ("America/Sao_Paulo", "2018-02-17", "2018-02-17T02:00:00", 25, "back at midnight"),
    ("Africa/Cairo", "2024-04-26", "2024-04-25T22:00:00", 23, "no midnight"),
    ("Africa/Cairo", "2024-10-31", "2024-10-30T21:00:00", 25, "back at midnight"),
    ("America/Havana", "2024-11-03", "2024-11-03T04:00:00", 25, "midnight twice"),
    ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00", 24, "the 30th never was"),
    ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00", 24, "the 30th never was"),
]
# Before 2012 a few zones went back across midnight, which splits a day in two.
MOMENTS = st.datetimes(datetime(2012, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


def microseconds(moment):
    """Return a moment as microseconds since the epoch."""
    whole = int(moment.replace(microsecond=0).timestamp()) * MICROSECONDS
    return whole + moment.microsecond


@pytest.mark.parametrize(
    ("zone", "day", "first", "hours"),
    [each[:4] for each in DAYS],
    ids=[f"{each[0]} {each[1]} {each[4]}" for each in DAYS],
)
def test_a_day_has_exact_bounds(zone, day, first, hours):
    """Its first and last microsecond belong to it, their neighbours do not."""
    start = microseconds(datetime.fromisoformat(first).replace(tzinfo=UTC))
    end = start + round(hours * HOUR)

    for inside in (start, start + 1, (start + end) // 2, end - 1):
        window = day_of(inside, zone)
        assert (window.key, window.start, window.end) == (f"day:{day}", start, end)
    assert day_of(start - 1, zone).end == start
    assert day_of(end, zone).start == end


@settings(deadline=None)
@given(MOMENTS, st.sampled_from(sorted(available_timezones())))
def test_days_follow_each_other_without_gap_or_overlap(moment, zone):
    """Every moment lies in the day that a clock on the wall shows, in every zone."""
    now = microseconds(moment)
    window = day_of(now, zone)

    assert window.start <= now < window.end
    assert window.key == f"day:{moment.astimezone(ZoneInfo(zone)).date()}"
    assert day_of(window.end, zone).start == window.end
    assert day_of(window.start - 1, zone).end == window.start
