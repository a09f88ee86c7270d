"""Processes share an account through rows that lapse; together they never have more than it."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ims_gateway.jobs import shares
from ims_gateway.jobs.shares import LAPSE_MICROSECONDS, Holding, Whole
from tests.unit.jobs.world import SECOND, emptied

WHOLE = Whole("main", 10, 50.0)
LAPSE_SECONDS = LAPSE_MICROSECONDS / SECOND


class Process:
    """One process: it keeps to its share, and says so when it renews."""

    def __init__(self, books, seat, wanted=0, weight=1, life=None):
        """Begin with nothing."""
        self.books = books
        self.holding = Holding(seat, life or seat, 0, 0.0, wanted, float(wanted), weight)
        self.in_flight = 0
        self.places, self.per_second = 0, 0.0
        self.usable_until = 0

    def renew(self):
        """Renew, as `leasing` does."""
        now = self.books.clock.now
        if now >= self.usable_until:
            self.places, self.per_second = 0, 0.0
        holding = replace(
            self.holding, places=max(self.places, self.in_flight), per_second=self.per_second
        )
        with self.books.transaction() as db:
            share = shares.renew(db, WHOLE, holding, now)
        if share is not None:
            self.places, self.per_second = share.places, share.per_second
            self.holding = replace(self.holding, renewed=True)
            self.usable_until = now + LAPSE_MICROSECONDS - SECOND
        return share

    def want(self, wanted, weight=1):
        """Want so much from now on."""
        self.holding = replace(
            self.holding, wanted_places=wanted, wanted_per_second=float(wanted), weight=weight
        )


def held(books):
    """Return the sums of what the rows say."""
    ((places, per_second),) = books.all("SELECT SUM(places) AS p, SUM(per_second) AS r FROM shares")
    return places, pytest.approx(per_second)


def test_a_lone_process_has_everything_at_once(ledger_rows):
    """After one renewal."""
    share = Process(ledger_rows, "a").renew()

    assert (share.places, share.per_second, share.settled) == (10, 50.0, True)


def test_a_second_process_gets_its_share_when_the_first_one_has_given_it_back(ledger_rows):
    """Not before: what is under way must have its place."""
    first, second = Process(ledger_rows, "a", wanted=100), Process(ledger_rows, "b", wanted=100)
    first.renew()
    first.in_flight = 10
    assert second.renew().places == 0
    share = first.renew()
    assert (share.places, share.held_places, share.settled) == (5, 10, False)
    assert second.renew().places == 0

    first.in_flight = 7
    first.renew()
    assert second.renew().places == 3
    first.in_flight = 0
    first.renew()
    assert (second.renew().places, second.per_second) == (5, 25.0)
    assert held(ledger_rows) == (10, 50.0)


def test_an_idle_process_leaves_almost_everything_to_a_busy_one(ledger_rows):
    """And keeps what its next call needs."""
    busy, idle = Process(ledger_rows, "a", wanted=100), Process(ledger_rows, "b")
    for _ in range(3):
        busy.renew()
        idle.renew()

    assert (busy.places, idle.places) == (9, 1)
    assert (busy.per_second, idle.per_second) == pytest.approx((47.5, 2.5))


def test_the_share_of_a_dead_process_goes_to_the_others(ledger_rows):
    """Once it has lapsed, and its row is gone."""
    alive, dead = Process(ledger_rows, "a", wanted=100), Process(ledger_rows, "b", wanted=100)
    for _ in range(3):
        alive.renew()
        dead.renew()
    assert alive.places == 5

    ledger_rows.clock.advance(LAPSE_SECONDS - 0.1)
    alive.renew()
    assert alive.places == 5
    ledger_rows.clock.advance(0.2)
    alive.renew()

    assert (alive.places, alive.per_second) == (10, 50.0)
    assert ledger_rows.all("SELECT seat FROM shares") == [("a",)]


def test_a_clock_that_stepped_back_keeps_no_dead_row_alive(ledger_rows):
    """It is as far from now as a row that lapsed."""
    Process(ledger_rows, "b", wanted=100).renew()
    ledger_rows.clock.advance(-3600)

    assert Process(ledger_rows, "a", wanted=100).renew().places == 10


def test_a_gateway_that_starts_again_takes_over_its_seat(ledger_rows):
    """It need not wait until its own former share has lapsed."""
    Process(ledger_rows, "a", life="first").renew()

    assert Process(ledger_rows, "a", life="second").renew().places == 10


def test_of_two_processes_in_one_seat_the_first_one_moves(ledger_rows):
    """Two hosts of one name, say: they must not both use one share."""
    first = Process(ledger_rows, "a", life="first")
    first.renew()
    Process(ledger_rows, "a", life="second").renew()

    assert first.renew() is None
    with ledger_rows.transaction() as db:
        shares.drop(db, ["main"], "a", "first")
    assert ledger_rows.all("SELECT life FROM shares") == [("second",)]


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(("renew", "want", "call", "end", "sleep", "die")),
        st.integers(0, 30),
    ),
    max_size=60,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS)
def test_together_processes_never_use_more_than_the_whole(file_rows, events):
    """Whenever they renew, call, sleep and die."""
    emptied(file_rows)
    processes = [Process(file_rows, f"p{number}") for number in range(4)]
    for number, event, amount in events:
        process = processes[number]
        now = file_rows.clock.now
        match event:
            case "renew":
                process.renew()
            case "want":
                process.want(amount, 1 + amount % 4)
            case "call" if now < process.usable_until:
                process.in_flight = max(process.in_flight, min(amount, process.places))
            case "end":
                process.in_flight = min(process.in_flight, amount)
            case "sleep":
                file_rows.clock.advance(amount / 10)
            case "die":
                processes[number] = Process(file_rows, f"p{number}", life=f"{amount}")
        now = file_rows.clock.now
        live = [process for process in processes if now < process.usable_until]
        # A call ends within its lease here: one that does not is in nobody's way but the service's.
        for process in processes:
            if process not in live:
                process.in_flight = 0
        assert sum(max(process.places, process.in_flight) for process in live) <= WHOLE.places
        assert sum(process.per_second for process in live) <= WHOLE.per_second * (1 + 1e-9)
