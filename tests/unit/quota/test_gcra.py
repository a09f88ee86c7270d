"""A rate is never exceeded, and a refused caller is told exactly how long to wait."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ims_gateway.quota.gcra import MICROSECONDS, decide

START = 1_800_000_000 * MICROSECONDS
HOUR = 3600 * MICROSECONDS
RATES = st.floats(0.001, 100_000)
BURSTS = st.integers(1, 50)


def interval_of(per_second):
    """Return the time that one call takes up, in microseconds."""
    return decide(0, START, per_second, 1).tat - START


def run(per_second, burst, gaps, *, tat=0, start=START):
    """Make a call after each gap, as a ledger does: only a call that fits is written down."""
    now, accepted = start, []
    for gap in gaps:
        now += gap
        decision = decide(tat, now, per_second, burst)
        if decision.fits:
            tat = decision.tat
            accepted.append(now)
    return accepted, tat


@settings(deadline=None)
@given(RATES, BURSTS, st.lists(st.floats(0, 3), max_size=50))
def test_no_sequence_of_calls_exceeds_burst_and_rate(per_second, burst, gaps):
    """Between any two accepted calls there are at most the burst and what the time brings."""
    interval = interval_of(per_second)
    accepted, _ = run(per_second, burst, [round(gap * interval) for gap in gaps])

    for first, since in enumerate(accepted):
        for last in range(first, len(accepted)):
            brought = Fraction(per_second) * (accepted[last] - since) / MICROSECONDS
            assert last - first + 1 <= burst + brought + Fraction(1, 10**6)


@pytest.mark.parametrize("per_second", [3, 7, 98_000, 66_667])
def test_a_greedy_caller_gets_the_rate_and_no_more(per_second):
    """Rates that do not divide a second are not rounded in the caller's favour."""
    tat, now, calls = 0, START, 2_000
    for _ in range(calls):
        decision = decide(tat, now, per_second, burst=1)
        now += decision.retry_after
        tat = decide(tat, now, per_second, burst=1).tat

    assert (now - START) * per_second >= (calls - 1) * MICROSECONDS
    assert (now - START) * per_second <= (calls - 1) * (MICROSECONDS + per_second)


@settings(deadline=None)
@given(RATES, BURSTS, st.floats(0, 1, exclude_max=True), st.integers(0, 60))
def test_a_refused_caller_is_told_to_the_microsecond_when_there_is_room(
    per_second, burst, since, more
):
    """At now + retry_after the call fits; a microsecond earlier it does not."""
    interval = interval_of(per_second)
    _, tat = run(per_second, burst, [0] * (burst + more))
    now = START + int(since * interval)
    decision = decide(tat, now, per_second, burst)

    assert not decision.fits
    assert decision.tat == tat
    assert 0 < decision.retry_after <= interval
    assert decide(tat, now + decision.retry_after, per_second, burst).fits
    assert not decide(tat, now + decision.retry_after - 1, per_second, burst).fits


@settings(deadline=None)
@given(RATES, BURSTS, st.integers(0, 50))
def test_what_remains_is_what_still_fits(per_second, burst, made):
    """A decision's remaining calls can be made at the same moment, and one more cannot."""
    _, tat = run(per_second, burst, [0] * min(made, burst - 1))
    decision = decide(tat, START, per_second, burst)
    more, _ = run(per_second, burst, [0] * (burst + 1), tat=decision.tat)

    assert decision.fits
    assert len(more) == decision.remaining


@settings(deadline=None)
@given(RATES, BURSTS)
def test_an_unused_bucket_is_whole(per_second, burst):
    """However long nothing was asked for, the burst fits and not one call more."""
    accepted, _ = run(per_second, burst, [0] * (burst + 3), tat=START - 100 * HOUR)

    assert len(accepted) == burst


@settings(deadline=None)
@given(RATES, BURSTS, st.integers(1, 1000 * HOUR), st.lists(st.floats(0, 3), max_size=60))
def test_a_clock_that_steps_back_lets_nobody_exceed_the_rate(per_second, burst, step, gaps):
    """Counted from the step on, burst and rate hold as ever."""
    interval = interval_of(per_second)
    _, tat = run(per_second, burst, [0] * burst)
    start = START - step
    accepted, _ = run(
        per_second, burst, [round(gap * interval) for gap in gaps], tat=tat, start=start
    )

    for count, moment in enumerate(accepted, 1):
        brought = Fraction(per_second) * (moment - start) / MICROSECONDS
        assert count <= burst + brought + Fraction(1, 10**6)


@settings(deadline=None)
@given(RATES, BURSTS, st.integers(1, 1000 * HOUR))
def test_a_clock_that_steps_back_keeps_a_bucket_full_for_one_refill_only(per_second, burst, step):
    """An hour's step back shuts nobody out for an hour."""
    interval = interval_of(per_second)
    _, tat = run(per_second, burst, [0] * burst)
    now = START - step
    # A caller that comes back as soon as it was told to.
    for _ in range(2):
        decision = decide(tat, now, per_second, burst)
        tat = decision.tat if decision.fits else tat
        now += decision.retry_after
    assert now <= START - step + interval
    accepted, _ = run(per_second, burst, [0] * burst, tat=tat, start=now + interval * burst)

    assert len(accepted) == burst


def test_a_lowered_limit_holds_at_once():
    """A bucket that was filled under a larger burst counts as full, not as overdue for hours."""
    _, tat = run(1.0, 1000, [0] * 1000)
    accepted, _ = run(1.0, 2, [0, 0, 0, MICROSECONDS, MICROSECONDS], tat=tat)

    assert accepted == [START, START + MICROSECONDS, START + 2 * MICROSECONDS]
