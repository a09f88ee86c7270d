"""An account's places are shared in turn, none is given twice, and none is ever lost."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ims_gateway.errors import UpstreamBusy
from ims_gateway.upstream.slots import Slots

LONG = 30


async def settled():
    """Let everything happen that can happen without time passing."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_free_place_is_taken_at_once():
    """Without waiting, and up to as many as there are."""
    slots = Slots(2)
    async with slots.place() as first, slots.place() as second, slots.place() as third:
        assert (first.taken, second.taken, third.taken) == (True, True, False)


async def test_a_place_is_given_back_when_it_is_left():
    """Also by an exception."""
    slots = Slots(1)

    async def fail():
        async with slots.place():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with slots.place() as place:
        assert place.taken


async def test_a_place_that_was_given_back_early_is_not_given_back_again():
    """Else the account would have one more."""
    slots = Slots(1)
    async with slots.place() as place:
        place.release()
        place.release()
    async with slots.place() as first, slots.place() as second:
        assert (first.taken, second.taken) == (True, False)


async def test_a_place_that_was_never_taken_is_not_given_back():
    """Nor by a caller that only looked."""
    slots = Slots(1)
    async with slots.place() as first:
        async with slots.place() as second:
            assert not second.taken
        assert first.taken
        async with slots.place() as third:
            assert not third.taken


@pytest.mark.parametrize("seconds", [0, -5, 0.001])
async def test_a_caller_whose_time_is_over_is_told_that_nothing_was_sent(seconds):
    """It may come again."""
    slots = Slots(1)
    async with slots.place(), slots.place() as waiting:
        with pytest.raises(UpstreamBusy):
            await waiting.wait(seconds)
        assert not waiting.taken


async def test_those_who_wait_are_served_in_turn():
    """And nobody who comes later overtakes them."""
    slots, served = Slots(1), []

    async def call(number):
        async with slots.place() as place:
            if not place.taken:
                await place.wait(LONG)
            served.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(call(number) for number in range(10)))

    assert served == list(range(10))


async def test_a_place_that_somebody_waits_for_is_not_free():
    """It goes to the one who waits, although it was given back just now."""
    slots = Slots(1)
    async with slots.place() as first, slots.place() as second:
        waiting = asyncio.create_task(second.wait(LONG))
        await settled()
        first.release()
        async with slots.place() as third:
            assert not third.taken
        await waiting
        assert second.taken


async def test_a_caller_that_gives_up_leaves_the_place_to_the_next():
    """Also when it was its turn just then."""
    slots = Slots(1)
    async with slots.place() as first, slots.place() as second, slots.place() as third:
        gone = asyncio.create_task(second.wait(LONG))
        patient = asyncio.create_task(third.wait(LONG))
        await settled()
        first.release()
        gone.cancel()
        await asyncio.wait([gone, patient], timeout=LONG)

        assert (second.taken, third.taken) == (False, True)


async def test_accounts_share_no_places():
    """One that is busy holds up nobody else."""
    busy, idle = Slots(1), Slots(1)
    async with busy.place(), idle.place() as place:
        assert place.taken


COURSES = st.lists(
    st.tuples(st.sampled_from(("come", "leave", "give up", "pause")), st.integers(0, 5)),
    max_size=60,
)


@settings(deadline=None)
@given(st.integers(1, 3), COURSES)
def test_no_course_of_events_gives_a_place_twice_or_loses_one(places, course):
    """Callers come, wait, leave, and give up in any order, at any moment."""

    async def run():
        slots, callers, holding = Slots(places), [], []

        async def call(leave):
            async with slots.place() as place:
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
        free = [slots.place() for _ in range(places + 1)]
        return [(await place.__aenter__()).taken for place in free]

    assert asyncio.run(run()) == [True] * places + [False]
