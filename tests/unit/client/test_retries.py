import pytest

from ims_gateway_client import Unavailable
from ims_gateway_client.retries import CALL, RECONNECT, Attempts, Backoff


def test_pauses_double_up_to_their_maximum():
    """Each pause lies within a fifth of its nominal length."""
    backoff = Backoff(initial_seconds=0.5, maximum_seconds=5.0, attempts=9)
    for failures, nominal in ((1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 5.0), (500, 5.0)):
        for _ in range(50):
            assert 0.8 * nominal <= backoff.pause_seconds(failures) <= 1.2 * nominal


def test_callers_that_failed_together_do_not_come_back_together():
    """Pauses differ from call to call."""
    assert len({CALL.pause_seconds(1) for _ in range(10)}) > 1


def test_the_last_attempt_raises_its_error():
    """The number of attempts counts the first one too."""
    attempts = Attempts(None)
    for _ in range(CALL.attempts - 1):
        attempts.pause_after(Unavailable("early"))
    last = Unavailable("last")
    with pytest.raises(Unavailable) as caught:
        attempts.pause_after(last)
    assert caught.value is last


def test_the_deadline_covers_attempts_and_pauses():
    """What is left shrinks with the clock, never below nothing."""
    now = [1000.0]
    attempts = Attempts(10.0, clock=lambda: now[0])
    assert attempts.remaining_seconds() == 10.0
    now[0] += 9.99
    with pytest.raises(Unavailable):
        attempts.pause_after(Unavailable("no time to pause"))
    now[0] += 5
    assert attempts.remaining_seconds() == 0.0


def test_without_a_deadline_there_is_no_remainder():
    """A watch lasts as long as its job."""
    assert Attempts(None).remaining_seconds() is None


def test_contact_makes_patient():
    """A gateway that was there is waited for longer, and counted from the start each time."""
    attempts = Attempts(None)
    attempts.pause_after(Unavailable("not there yet"))
    for _ in range(2):
        attempts.made_contact()
        pauses = [attempts.pause_after(Unavailable("")) for _ in range(RECONNECT.attempts - 1)]
        assert 30 < sum(pauses) < 90
    with pytest.raises(Unavailable):
        attempts.pause_after(Unavailable("gone for good"))
