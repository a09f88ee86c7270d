"""A day is the tenant's own calendar day, however long it is."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ims_gateway.quota.windows import MICROSECONDS, QUARTER, window_of

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
        window = window_of("day", inside, zone)
        assert (window.start, window.end) == (start, end)
        assert window.key.startswith(f"day:{day}")
    assert window_of("day", start - 1, zone).end == start
    assert window_of("day", end, zone).start == end


@settings(deadline=None)
@given(MOMENTS, st.sampled_from(sorted(available_timezones())))
def test_days_follow_each_other_without_gap_or_overlap(moment, zone):
    """Every moment lies in the day that a clock on the wall shows, in every zone."""
    now = microseconds(moment)
    window = window_of("day", now, zone)

    assert window.start <= now < window.end
    assert window.key.startswith(f"day:{moment.astimezone(ZoneInfo(zone)).date()}")
    assert window_of("day", window.end, zone).start == window.end
    assert window_of("day", window.start - 1, zone).end == window.start


# Unit, zone, name of the window, its first moment in UTC, its length in hours.
OTHERS = [
    ("month", "UTC", "2024-02", "2024-02-01T00:00:00", 29 * 24),
    ("month", "UTC", "2025-02", "2025-02-01T00:00:00", 28 * 24),
    ("month", "UTC", "2025-12", "2025-12-01T00:00:00", 31 * 24),
    ("month", "Asia/Shanghai", "2025-01+08:00", "2024-12-31T16:00:00", 31 * 24),
    ("month", "Europe/Berlin", "2025-03+01:00", "2025-02-28T23:00:00", 31 * 24 - 1),
    ("month", "Europe/Berlin", "2025-10+02:00", "2025-09-30T22:00:00", 31 * 24 + 1),
    ("week", "UTC", "2024-12-30", "2024-12-30T00:00:00", 7 * 24),
    ("week", "UTC", "2024-02-26", "2024-02-26T00:00:00", 7 * 24),
    ("week", "America/New_York", "2025-03-03-05:00", "2025-03-03T05:00:00", 7 * 24 - 1),
    ("week", "America/New_York", "2025-10-27-04:00", "2025-10-27T04:00:00", 7 * 24 + 1),
    ("hour", "UTC", "2025-06-15T13", "2025-06-15T13:00:00", 1),
    ("hour", "Asia/Kathmandu", "2025-01-01T00+05:45", "2024-12-31T18:15:00", 1),
    ("hour", "Europe/Berlin", "2025-10-26T02+02:00", "2025-10-26T00:00:00", 1),
    ("hour", "Europe/Berlin", "2025-10-26T02+01:00", "2025-10-26T01:00:00", 1),
    ("hour", "Europe/Berlin", "2025-03-30T03+02:00", "2025-03-30T01:00:00", 1),
    ("hour", "Australia/Lord_Howe", "2025-04-06T01+11:00", "2025-04-05T14:00:00", 1),
    ("hour", "Australia/Lord_Howe", "2025-04-06T01:30+10:30", "2025-04-05T15:00:00", 0.5),
    ("hour", "Australia/Lord_Howe", "2025-10-05T02:30+11:00", "2025-10-04T15:30:00", 0.5),
]


@pytest.mark.parametrize(("unit", "zone", "name", "first", "hours"), OTHERS)
def test_hours_weeks_and_months_have_exact_bounds(unit, zone, name, first, hours):
    """At the ends of months, in leap years, and where a zone's clock is moved either way."""
    start = microseconds(datetime.fromisoformat(first).replace(tzinfo=UTC))
    end = start + round(hours * HOUR)

    for inside in (start, (start + end) // 2, end - 1):
        window = window_of(unit, inside, zone)
        assert (window.key, window.start, window.end) == (f"{unit}:{name}", start, end)
    assert window_of(unit, start - 1, zone).end == start
    assert window_of(unit, end, zone).start == end


@settings(deadline=None)
@given(
    MOMENTS,
    st.sampled_from(sorted(available_timezones())),
    st.sampled_from(("hour", "day", "week", "month")),
)
def test_windows_follow_each_other_and_have_names_of_their_own(moment, zone, unit):
    """Without gap or overlap, each begins with a quarter of an hour and fits into the ledger."""
    now = microseconds(moment)
    window = window_of(unit, now, zone)
    after, before = window_of(unit, window.end, zone), window_of(unit, window.start - 1, zone)

    assert window.start <= now < window.end
    assert (after.start, before.end) == (window.end, window.start)
    assert len({window.key, after.key, before.key}) == 3
    assert window.start % QUARTER == 0
    assert len(window.key) <= 32


@settings(deadline=None)
@given(
    MOMENTS,
    st.sampled_from(sorted(available_timezones())),
    st.sampled_from(sorted(available_timezones())),
    st.sampled_from(("hour", "day", "week", "month")),
)
def test_windows_of_two_zones_have_one_name_only_if_they_begin_together(moment, one, other, unit):
    """Else a tenant that changes its zone would find the counter of another window."""
    now = microseconds(moment)
    first, second = window_of(unit, now, one), window_of(unit, now, other)

    assert first.key != second.key or first.start == second.start


@pytest.mark.parametrize("step_hours", [-1, 1])
@pytest.mark.parametrize("unit", ["hour", "day", "week", "month"])
def test_a_clock_that_steps_an_hour_names_the_window_it_is_in(unit, step_hours):
    """Back over midnight, yesterday's window is found again, and its counter with it."""
    midnight = microseconds(datetime(2025, 3, 1, tzinfo=UTC))
    for now in (midnight - HOUR // 2, midnight + HOUR // 2):
        stepped = now + step_hours * HOUR
        window = window_of(unit, stepped, "UTC")
        assert window.start <= stepped < window.end
        assert window_of(unit, now, "UTC") == window_of(unit, stepped - step_hours * HOUR, "UTC")
