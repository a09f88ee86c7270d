"""The breaker opens on a service that is not there, and on nothing else."""

import pytest
from structlog.testing import capture_logs

from ims_gateway.upstream.breaker import FAILURES, LONGEST_PAUSE_SECONDS, Breaker, Condition


def opened():
    """Return a breaker that has opened at 0, for a second."""
    breaker = Breaker("main")
    for _ in range(FAILURES):
        breaker.unreached(0.0)
    return breaker


def test_it_opens_after_failures_in_a_row():
    """One answer in between starts the count anew."""
    breaker = Breaker("main")
    for _ in range(FAILURES - 1):
        breaker.unreached(0.0)
    breaker.reached()
    for _ in range(FAILURES - 1):
        breaker.unreached(0.0)
    assert breaker.condition is Condition.CLOSED
    breaker.unreached(0.0)
    assert breaker.condition is Condition.OPEN
    assert breaker.seconds_to_try(0.25) == pytest.approx(0.75)


def test_one_call_finds_out_whether_the_service_is_back():
    """Nobody else goes before it is known."""
    breaker = opened()
    assert breaker.seconds_to_try(1.0) == 0
    assert breaker.take()
    assert breaker.condition is Condition.HALF_OPEN
    assert breaker.seconds_to_try(1.0) > 0
    breaker.reached()
    assert breaker.condition is Condition.CLOSED
    assert breaker.seconds_to_try(1.0) == 0
    assert not breaker.take()


def test_each_probe_in_vain_doubles_the_pause():
    """Up to half a minute."""
    breaker, now, pauses = opened(), 0.0, []
    for _ in range(7):
        pauses.append(breaker.seconds_to_try(now))
        now += pauses[-1]
        breaker.take()
        breaker.unreached(now)
    assert pauses == pytest.approx([1, 2, 4, 8, 16, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS])


def test_a_probe_that_found_nothing_out_is_followed_by_another():
    """Its job was refused before it was sent, say."""
    breaker = opened()
    breaker.take()
    breaker.give_up_probe(1.5)
    assert breaker.condition is Condition.OPEN
    assert breaker.seconds_to_try(1.5) == 0
    assert breaker.take()


def test_each_change_is_one_line_of_the_log():
    """And nothing else is."""
    with capture_logs() as lines:
        breaker = opened()
        breaker.unreached(0.5)
        breaker.take()
        breaker.unreached(1.0)
        breaker.take()
        breaker.reached()
        breaker.reached()
    assert [(line["log_level"], line["account"], line["condition"]) for line in lines] == [
        ("warning", "main", "open"),
        ("warning", "main", "half open"),
        ("warning", "main", "open"),
        ("warning", "main", "half open"),
        ("info", "main", "closed"),
    ]
