"""What is refused from memory would be refused by the ledger, and memory is bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ims_gateway.errors import LimitBreach, RateExceeded
from ims_gateway.quota.gcra import decide
from ims_gateway.quota.limits import Demand, RateLimit
from ims_gateway.quota.refusals import Refusals

SECOND = 1_000_000
NOW = 1_800_000_000 * SECOND
RATE = RateLimit("rate", per_second=1.0, burst=3)
DEMAND = Demand("acme", "farm", "cover")


def full(now=NOW, wait=1.0, demand=DEMAND):
    """Return the ledger's refusal."""
    return RateExceeded((LimitBreach("rate", RATE.metric, 3, demand.tenant, wait),), now)


def refused(refusals, now, limits=(RATE,), demand=DEMAND, request_id="r"):
    """Say whether a call is refused from memory."""
    try:
        refusals.check(demand, limits, request_id, now)
    except RateExceeded:
        return True
    return False


def test_a_full_rate_is_refused_until_it_has_room():
    """With the time that is left to wait."""
    refusals = Refusals()
    assert not refused(refusals, NOW)
    refusals.note(DEMAND, (RATE,), full())
    with pytest.raises(RateExceeded) as raised:
        refusals.check(DEMAND, (RATE,), "r", NOW + SECOND // 4)

    assert raised.value.retry_after_seconds == 0.75
    assert not refused(refusals, NOW + SECOND)


def test_one_call_is_let_through_for_each_that_can_have_room():
    """Not all that waited; after a pause, as many as have gathered room."""
    refusals = Refusals()
    refusals.note(DEMAND, (RATE,), full())
    assert [refused(refusals, NOW + SECOND) for _ in range(3)] == [False, True, True]
    assert [refused(refusals, NOW + 60 * SECOND) for _ in range(4)] == [False] * 3 + [True]


def test_others_are_not_refused():
    """Another tenant, a changed limit, a limit on trial, a request whose job is known."""
    refusals = Refusals()
    refusals.note(DEMAND, (RATE,), full())
    refusals.know("acme", "known")
    changed = RateLimit("rate", per_second=2.0, burst=3)
    trial = RateLimit("rate", per_second=1.0, burst=3, shadow=True)

    assert not refused(refusals, NOW, demand=Demand("globex", "farm", "cover"))
    assert not refused(refusals, NOW, limits=(changed,))
    assert not refused(refusals, NOW, limits=(trial,))
    assert not refused(refusals, NOW, request_id="known")
    assert refused(refusals, NOW)


@pytest.mark.parametrize("step_hours", [-1, 1])
def test_a_clock_that_steps_shuts_nobody_out(step_hours):
    """What was remembered by the clock of before says nothing."""
    refusals = Refusals()
    refusals.note(DEMAND, (RATE,), full())

    assert not refused(refusals, NOW + step_hours * 3600 * SECOND)


def test_a_call_that_took_nothing_gives_way_to_the_next():
    """It was let through, and ended in another way."""
    refusals = Refusals()
    refusals.note(DEMAND, (RATE,), full())
    assert not refused(refusals, NOW + SECOND)
    assert refused(refusals, NOW + SECOND)
    refusals.forget(DEMAND, (RATE,))

    assert not refused(refusals, NOW + SECOND)


def test_memory_is_bounded():
    """The oldest is forgotten, and asked about again."""
    refusals = Refusals(most=2)
    demands = [Demand(f"tenant-{number}", "farm", "cover") for number in range(3)]
    for demand in demands:
        refusals.note(demand, (RATE,), full(demand=demand))

    assert [refused(refusals, NOW, demand=demand) for demand in demands] == [False, True, True]


@given(st.lists(st.integers(0, 3 * SECOND), max_size=60))
def test_memory_never_refuses_what_the_ledger_would_admit(gaps):
    """Whenever calls come, as long as those that are let through take what they get."""
    refusals, tat, now = Refusals(), 0, NOW
    for gap in gaps:
        now += gap
        decision = decide(tat, now, RATE.per_second, RATE.burst)
        if refused(refusals, now):
            assert not decision.fits
            continue
        tat = decision.tat
        if not decision.fits:
            wait = decision.retry_after / SECOND
            refusals.note(DEMAND, (RATE,), full(now, wait))
