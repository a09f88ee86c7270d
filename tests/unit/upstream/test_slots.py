"""An account's places are shared in turn, none is given twice, and none is ever lost."""

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ims_gateway.errors import UpstreamBusy, UpstreamUnreachable
from ims_gateway.upstream.breaker import FAILURES, Condition
from ims_gateway.upstream.errors import (
    NotSent,
    OutcomeUnknown,
    Refused,
    Throttled,
    Unreached,
    UpstreamError,
)
from ims_gateway.upstream.slots import LONGEST_LINE, Slots
from ims_gateway.upstream.turns import Standing
from tests import virtual_time
from tests.unit.upstream.callers import LONG, call

ACME = Standing("acme")


async def settled():
    """Let everything happen that can happen without time passing."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_free_place_is_taken_at_once():
    """Without waiting, and up to as many as there are."""
    slots = Slots("main", 2)
    async with slots.place(ACME) as first, slots.place(ACME) as second, slots.place(ACME) as third:
        assert (first.taken, second.taken, third.taken) == (True, True, False)


async def test_a_place_is_given_back_when_it_is_left():
    """Also by an exception."""
    slots = Slots("main", 1)

    async def fail():
        async with slots.place(ACME):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with slots.place(ACME) as place:
        assert place.taken


async def test_a_place_that_was_given_back_early_is_not_given_back_again():
    """Else the account would have one more."""
    slots = Slots("main", 1)
    async with slots.place(ACME) as place:
        place.release()
        place.release()
    async with slots.place(ACME) as first, slots.place(ACME) as second:
        assert (first.taken, second.taken) == (True, False)


async def test_a_place_that_was_never_taken_is_not_given_back():
    """Nor by a caller that only looked."""
    slots = Slots("main", 1)
    async with slots.place(ACME) as first:
        async with slots.place(ACME) as second:
            assert not second.taken
        assert first.taken
        async with slots.place(ACME) as third:
            assert not third.taken


@pytest.mark.parametrize("seconds", [0, -5, 0.001])
async def test_a_caller_whose_time_is_over_is_told_that_nothing_was_sent(seconds):
    """It may come again."""
    slots = Slots("main", 1)
    async with slots.place(ACME), slots.place(ACME) as waiting:
        with pytest.raises(UpstreamBusy):
            await waiting.wait(seconds)
        assert not waiting.taken


async def test_those_who_wait_are_served_in_turn():
    """And nobody who comes later overtakes them."""
    slots, served = Slots("main", 1), []

    async def call(number):
        async with slots.place(ACME) as place:
            if not place.taken:
                await place.wait(LONG)
            served.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(call(number) for number in range(10)))

    assert served == list(range(10))


async def test_a_place_that_somebody_waits_for_is_not_free():
    """It goes to the one who waits, although it was given back just now."""
    slots = Slots("main", 1)
    async with slots.place(ACME) as first, slots.place(ACME) as second:
        waiting = asyncio.create_task(second.wait(LONG))
        await settled()
        first.release()
        async with slots.place(ACME) as third:
            assert not third.taken
        await waiting
        assert second.taken


async def test_a_caller_that_gives_up_leaves_the_place_to_the_next():
    """Also when it was its turn just then."""
    slots = Slots("main", 1)
    async with slots.place(ACME) as first, slots.place(ACME) as second, slots.place(ACME) as third:
        gone = asyncio.create_task(second.wait(LONG))
        patient = asyncio.create_task(third.wait(LONG))
        await settled()
        first.release()
        gone.cancel()
        await asyncio.wait([gone, patient], timeout=LONG)

        assert (second.taken, third.taken) == (False, True)


async def test_accounts_share_no_places():
    """One that is busy holds up nobody else."""
    busy, idle = Slots("main", 1), Slots("main", 1)
    async with busy.place(ACME), idle.place(ACME) as place:
        assert place.taken


SECONDS = 0.2
COURSES = st.lists(
    st.tuples(st.sampled_from(("come", "leave", "give up", "pause")), st.integers(0, 5)),
    max_size=60,
)


@settings(deadline=None)
@given(st.integers(1, 3), COURSES)
def test_no_course_of_events_gives_a_place_twice_or_loses_one(places, course):
    """Callers come, wait, leave, and give up in any order, at any moment."""

    async def run():
        slots, callers, holding = Slots("main", places), [], []

        async def call(leave):
            async with slots.place(ACME) as place:
                if not place.taken:
                    await place.wait(LONG)
                holding.append(place)
                try:
                    assert len(holding) <= places
                    await leave.wait()
                finally:
                    holding.remove(place)

        for event, number in course:
            match event:
                case "come":
                    leave = asyncio.Event()
                    callers.append((asyncio.create_task(call(leave)), leave))
                case "leave" if number < len(callers):
                    callers[number][1].set()
                case "give up" if number < len(callers):
                    callers[number][0].cancel()
                case "pause":
                    await asyncio.sleep(0)
        for _, leave in callers:
            leave.set()
        done = await asyncio.gather(*(task for task, _ in callers), return_exceptions=True)
        assert all(each is None or isinstance(each, asyncio.CancelledError) for each in done)
        free = [slots.place(ACME) for _ in range(places + 1)]
        return [(await place.__aenter__()).taken for place in free]

    assert asyncio.run(run()) == [True] * places + [False]


def test_an_estimate_is_about_what_it_takes():
    """By places and by rate, for whoever comes last."""

    async def story(places, per_second):
        slots, log = Slots("main", places, per_second), []
        calls = [asyncio.create_task(call(slots, ACME, SECONDS, log)) for _ in range(places)]
        await asyncio.gather(*calls)
        calls = [
            asyncio.create_task(call(slots, Standing(f"t{n % 3}"), SECONDS, log))
            for n in range(100)
        ]
        await settled()
        estimate = slots.estimate_seconds(ACME)
        came = asyncio.get_running_loop().time()
        await call(slots, ACME, SECONDS, log, patience=60)
        await asyncio.gather(*calls)
        (went,) = [went for tenant, at, went, _ in log if at == came and tenant == "acme"]
        return estimate, went - came

    for limits in ((5, math.inf), (200, 20.0)):
        estimate, wait = virtual_time.run(story(*limits))
        assert estimate == pytest.approx(wait, rel=0.3), limits


def test_who_cannot_be_served_in_time_is_told_at_once_when_to_come():
    """Instead of being kept waiting for nothing."""

    async def story():
        slots, log = Slots("main", 1), []
        await call(slots, ACME, 2.0, log)
        calls = [asyncio.create_task(call(slots, ACME, 2.0, log)) for _ in range(5)]
        await settled()
        came = asyncio.get_running_loop().time()
        refusal = await call(slots, ACME, 2.0, log, patience=5)
        now = asyncio.get_running_loop().time()
        # Nobody of another tenant is behind those five.
        other = slots.place(Standing("globex")).refusal(7)
        await asyncio.gather(*calls)
        return refusal, now - came, other

    refusal, waited, other = virtual_time.run(story())

    assert isinstance(refusal, UpstreamBusy)
    assert waited == 0
    assert refusal.retry_after_seconds == pytest.approx(10, rel=0.2)
    assert other is None


def test_one_tenants_line_is_bounded_and_nobody_elses():
    """A flood uses up its own line."""

    async def story():
        slots, log = Slots("main", 1), []
        calls = [asyncio.create_task(call(slots, ACME, 1.0, log)) for _ in range(LONGEST_LINE + 1)]
        await settled()
        refusals = [slots.place(who).refusal(LONG) for who in (ACME, Standing("globex"))]
        for each in calls:
            each.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        return refusals

    refused, taken = virtual_time.run(story())

    assert isinstance(refused, UpstreamBusy)
    assert taken is None


def unreached():
    """Return how a call to a dead service ends."""
    return Unreached("SubmitIProductionJob", "ConnectError")


async def fail(slots, error, seconds=10.0):
    """Make a call that ends in this way; return the refusal where it is not made."""
    async with slots.place(ACME) as place:
        if refusal := place.refusal(LONG):
            return refusal
        place.spend()
        try:
            with slots.learning(seconds):
                if error:
                    raise error
        except UpstreamError:
            pass
    return None


def test_calls_to_a_dead_service_are_refused_at_once_also_those_that_wait():
    """Until one of them finds that it is back."""

    async def story():
        slots, refusals = Slots("main", 1), []
        async with slots.place(ACME):
            waiting = asyncio.create_task(call(slots, ACME, 1.0, []))
            await settled()
            for _ in range(FAILURES):
                with pytest.raises(Unreached), slots.learning(10.0):
                    raise unreached()
        refusals += [await waiting, await fail(slots, None)]
        await asyncio.sleep(refusals[1].retry_after_seconds)
        return refusals, await fail(slots, None), await fail(slots, None)

    refusals, *later = virtual_time.run(story())

    assert [type(each) for each in refusals] == [UpstreamUnreachable] * 2
    assert later == [None, None]


def test_only_an_unreached_service_opens_the_breaker():
    """Not answers, not our own faults, and not a caller in too great a hurry to connect."""

    async def story():
        slots = Slots("main", 1)
        harmless = (
            (Refused("Submit", "no"), 10.0),
            (NotSent("Submit", "no credentials"), 10.0),
            (OutcomeUnknown("Submit", "no answer"), 10.0),
            (unreached(), 0.5),
        )
        for error, seconds in harmless:
            for _ in range(2 * FAILURES):
                assert await fail(slots, error, seconds) is None
        return slots.breaker.condition

    assert virtual_time.run(story()) is Condition.CLOSED


def test_a_throttle_is_one_line_of_the_log_and_so_is_its_end():
    """However many calls are throttled in between."""

    async def story():
        slots = Slots("main", 10)
        for _ in range(20):
            await fail(slots, None)
            await asyncio.sleep(0.1)
        for _ in range(3):
            await fail(slots, Throttled("Submit", "not now"))
            await asyncio.sleep(1)
        lowered = slots.rate.per_second(asyncio.get_running_loop().time())
        await asyncio.sleep(61)
        await fail(slots, None)
        return lowered

    with capture_logs() as lines:
        lowered = virtual_time.run(story())

    assert lowered < 5
    assert [(line["event"], line["account"]) for line in lines] == [
        ("upstream throttles", "main"),
        ("upstream throttles no more", "main"),
    ]


def test_a_place_that_was_not_used_costs_nothing_of_the_rate():
    """A flood of jobs that quota refuses does not slow the account down."""

    async def story():
        slots = Slots("main", 5, 1.0)
        for _ in range(100):
            async with slots.place(ACME) as place:
                assert place.taken
        return slots.rate.seconds_to_next(asyncio.get_running_loop().time())

    assert virtual_time.run(story()) == 0
