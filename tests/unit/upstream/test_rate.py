"""An account's calls keep to its rate; a throttle lowers it, and time raises it again."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ims_gateway.upstream.rate import BURST_SECONDS, RECOVERY_SECONDS, Rate


def sent(rate, seconds, now=0.0):
    """Send as fast as the rate allows; return when each call went out."""
    times, end = [], now + seconds
    while now < end:
        if (pause := rate.seconds_to_next(now)) > 0:
            now += pause
            continue
        rate.take(now)
        times.append(now)
    return times


def steps(rate, seconds, now=0.0):
    """Send at most 100 a second, looking each hundredth of one; return how many went out."""
    calls = 0
    for step in range(round(seconds * 100)):
        if rate.seconds_to_next(now + step / 100) == 0:
            rate.take(now + step / 100)
            calls += 1
    return calls


def test_a_rate_that_nobody_limits_never_waits():
    """As accounts are by default."""
    rate = Rate()
    for _ in range(1000):
        rate.take(5.0)
    assert rate.seconds_to_next(5.0) == 0


@given(st.floats(0.5, 500), st.floats(1, 20))
def test_calls_stay_within_burst_and_rate_and_waste_none_of_it(per_second, seconds):
    """Over any time; and whoever always wants to call gets all of it."""
    calls = len(sent(Rate(per_second), seconds))

    assert calls <= max(1, BURST_SECONDS * per_second) + per_second * seconds + 1
    assert calls >= math.floor(per_second * seconds * 0.999)


def test_a_call_that_was_not_made_is_given_back():
    """Refused jobs must not use up what others could have."""
    rate = Rate(1.0)
    rate.take(0.0)
    assert rate.seconds_to_next(0.0) == pytest.approx(1.0)
    rate.give_back(0.0)
    assert rate.seconds_to_next(0.0) == 0


def test_a_share_of_nothing_waits_for_another():
    """And what was owed at a slow rate is not owed for long at a quick one."""
    rate = Rate(0.1)
    rate.take(0.0)
    rate.change_share(0.0, 0.0)
    assert rate.seconds_to_next(0.0) == math.inf
    rate.change_share(100.0, 0.0)
    assert rate.seconds_to_next(0.0) < 10


def test_a_throttle_halves_what_was_sent_and_time_brings_it_back():
    """Half at once, evenly more then, all of it after a minute."""
    rate = Rate()
    now = 5.0
    before = steps(rate, now)
    assert rate.throttle(now, sent_at=4.9, pause_seconds=0.0)
    lowered = rate.per_second(now)
    regained = [rate.per_second(now + each) for each in (1, 2, 3, 59)]

    assert lowered == pytest.approx(before / now / 2, rel=0.05)
    assert [b > a for a, b in zip([lowered, *regained], regained, strict=False)] == [True] * 4
    assert regained[1] - regained[0] == pytest.approx(regained[0] - lowered)
    assert rate.throttled(now + RECOVERY_SECONDS - 1)
    assert rate.per_second(now + RECOVERY_SECONDS) == math.inf


def test_calls_that_were_under_way_lower_the_rate_only_once():
    """All that were sent too fast are throttled, and say the same thing."""
    rate = Rate(100.0)
    steps(rate, 5)
    assert rate.throttle(5.0, sent_at=4.9, pause_seconds=0.0)
    once = rate.per_second(5.1)
    assert not rate.throttle(5.1, sent_at=4.95, pause_seconds=0.0)
    assert rate.per_second(5.1) == once
    assert not rate.throttle(5.2, sent_at=5.15, pause_seconds=0.0)
    assert rate.per_second(5.2) < once


def test_a_service_that_allows_thirty_a_second_gets_about_as_many():
    """The rate goes up and down around what it takes, and little is turned away."""
    rate, accepted, throttled, bucket = Rate(), 0, 0, 30.0
    for step in range(120 * 100):
        now = step / 100
        bucket = min(30.0, bucket + 0.3)
        if rate.seconds_to_next(now) > 0:
            continue
        rate.take(now)
        if bucket >= 1:
            bucket -= 1
            accepted += 1
        else:
            throttled += 1
            rate.throttle(now, sent_at=now - 0.001, pause_seconds=0.0)
    assert accepted > 0.7 * 30 * 120
    assert throttled < 0.03 * accepted


def test_a_pause_that_the_service_asks_for_is_kept():
    """But not for an hour."""
    rate = Rate()
    rate.throttle(5.0, sent_at=4.0, pause_seconds=2.5)
    assert rate.seconds_to_next(5.0) == pytest.approx(2.5)
    rate.throttle(5.0, sent_at=4.0, pause_seconds=3600.0)
    assert rate.seconds_to_next(5.0) == pytest.approx(30.0)
