"""Tenants go in turn, as their weights say; nobody is lost, and nobody waits for ever."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ims_gateway.upstream.turns import ROUNDS_SAVED, Standing, Turns

TENANTS = ("acme", "globex", "initech")
STANDINGS = st.builds(
    Standing, st.sampled_from(TENANTS), weight=st.integers(1, 5), priority=st.integers(1, 10)
)


def lined_up(*lines):
    """Return turns for which each tenant's calls came at once, one tenant after the other."""
    turns = Turns()
    for standing, count in lines:
        for number in range(count):
            turns.add((standing.tenant, standing.priority, number), standing)
    return turns


def popped(turns, count):
    """Return the tenants of the next turns."""
    return [turns.pop()[0] for _ in range(count)]


def test_calls_of_one_tenant_go_in_the_order_in_which_they_came():
    """First come, first served."""
    turns = lined_up((Standing("acme"), 5))

    assert [turns.pop()[2] for _ in range(5)] == [0, 1, 2, 3, 4]


def test_a_smaller_priority_goes_first_within_its_tenant():
    """However late it comes, and no other tenant notices."""
    turns = lined_up((Standing("acme", priority=5), 2), (Standing("globex", priority=9), 2))
    turns.add(("acme", 1, 0), Standing("acme", priority=1))

    order = [turns.pop() for _ in range(5)]

    assert [each[1] for each in order if each[0] == "acme"] == [1, 5, 5]
    assert [each[0] for each in order] == ["acme", "globex", "acme", "globex", "acme"]


@pytest.mark.parametrize("weights", [(1, 2, 4), (1, 1, 1), (3, 5, 100), (1, 10, 100)])
def test_tenants_that_always_wait_get_what_their_weights_say(weights):
    """Within one round, and so within 5 % of any longer time."""
    rounds = 50
    lines = [
        (Standing(tenant, weight), weight * 2 * rounds)
        for tenant, weight in zip(TENANTS, weights, strict=True)
    ]
    turns = lined_up(*lines)
    got = Counter(popped(turns, sum(weights) * rounds))

    for tenant, weight in zip(TENANTS, weights, strict=True):
        assert got[tenant] == pytest.approx(weight * rounds, rel=0.05)


def test_a_tenant_that_has_just_come_goes_before_one_that_waits_in_masses():
    """As long as it has turns saved; then it waits for a round like everybody."""
    turns = lined_up((Standing("flood"), 1_000))
    popped(turns, 50)
    for number in range(50):
        turns.add(("acme", 5, number), Standing("acme"))

    # Those that it has saved, and that of the present round.
    assert popped(turns, ROUNDS_SAVED + 1) == ["acme"] * (ROUNDS_SAVED + 1)
    assert popped(turns, 4) in (["acme", "flood"] * 2, ["flood", "acme"] * 2)


def test_a_flood_saves_nothing_that_it_could_use_against_those_who_send_their_share():
    """However late they come: what it has had before, it has had."""
    turns = lined_up((Standing("flood"), 1_000))
    popped(turns, 100)
    for number in range(2 * ROUNDS_SAVED):
        turns.add(("acme", 5, number), Standing("acme"))
        # As many as it has had meanwhile; then there is room for one of the flood.
        assert popped(turns, 2) == ["acme", "flood"]


def test_a_tenant_that_comes_anew_each_time_gets_no_more_than_its_share():
    """To go first is for those that send little, not for those that send in little pieces."""
    turns = lined_up((Standing("flood"), 1_000))
    got = Counter()
    for number in range(500):
        if not turns.waiting_of("sly"):
            turns.add(("sly", 5, number), Standing("sly"))
        got[turns.pop()[0]] += 1

    assert got["sly"] <= 250 + ROUNDS_SAVED


def test_a_tenant_that_sends_its_share_unevenly_gets_it_at_once():
    """Five calls in every tenth round, say: it has saved the turns for them."""
    turns = lined_up((Standing("flood"), 2_000), (Standing("steady"), 2_000))
    popped(turns, 100)
    for burst in range(10):
        for number in range(5):
            turns.add((f"uneven {burst}", 5, number), Standing("uneven"))
        assert popped(turns, 5) == [f"uneven {burst}"] * 5
        popped(turns, 20)


def test_nobody_waits_in_an_empty_line():
    """Not after the last one has left, either."""
    turns = lined_up((Standing("acme"), 1))
    turns.remove(("acme", 5, 0))
    turns.remove(("acme", 5, 0))
    with pytest.raises(LookupError):
        turns.pop()
    assert (len(turns), turns.waiting_of("acme"), turns.weights()) == (0, 0, {})


@given(st.lists(st.one_of(STANDINGS, st.integers(0, 30), st.none()), max_size=80))
def test_no_course_of_events_loses_a_call_or_gives_it_two_turns(course):
    """Calls come, give up and get their turn in any order; while somebody waits, somebody goes."""
    turns, waiting = Turns(), []
    for number, event in enumerate(course):
        if isinstance(event, Standing):
            turns.add(number, event)
            waiting.append(number)
        elif isinstance(event, int) and event < len(waiting):
            turns.remove(waiting.pop(event))
        elif event is None and waiting:
            waiting.remove(turns.pop())
        assert len(turns) == len(waiting)
    assert sorted(turns.pop() for _ in range(len(turns))) == sorted(waiting)


@given(st.lists(STANDINGS, max_size=60), STANDINGS)
def test_a_new_call_goes_after_no_more_than_were_counted(others, standing):
    """The count of those ahead is what happens, or more, as long as nobody else comes."""
    turns = Turns()
    for number, other in enumerate(others):
        # A tenant has one weight at a time.
        turns.add(number, Standing(other.tenant, standing.weight, other.priority))
    for _ in range(len(others) // 3):
        turns.pop()
    ahead = turns.ahead_of(standing)
    turns.add("me", standing)
    went = 0
    while turns.pop() != "me":
        went += 1

    assert went <= ahead <= went + 3 * standing.weight


@given(st.lists(STANDINGS, min_size=1, max_size=60))
def test_nobody_starves(others):
    """A call goes within the rounds that can be saved, whatever all the others send meanwhile."""
    turns = Turns()
    for number, other in enumerate(others):
        turns.add(number, other)
    turns.add("me", Standing("patient", 1, 10))
    # All that the others can have saved, and one round more.
    most = len(TENANTS) * 5 * (ROUNDS_SAVED + 1)
    for went in range(most + 1):
        if turns.pop() == "me":
            return
        standing = others[went % len(others)]
        turns.add((went, "more"), standing)
    pytest.fail(f"did not go within {most}")
