import asyncio
import threading
from datetime import UTC, datetime

import pytest

from ims_gateway.upstream.credentials import Credentials, CredentialsUnavailable
from ims_gateway.upstream.renewal import LONGEST_PAUSE_SECONDS, RenewedCredentials

BEGIN = 1_800_000_000.0


class Source:
    """Gives keys that last so long, and fails when told to; its clock stands still."""

    def __init__(self, seconds=3600.0):
        self.now = BEGIN
        self.seconds = seconds
        self.failure = None
        self.threads = []

    def clock(self):
        """Return the time."""
        return self.now

    def fetch(self):
        """Return a key whose id says when it was made."""
        self.threads.append(threading.current_thread())
        if self.failure:
            raise self.failure
        ends = (
            None if self.seconds is None else datetime.fromtimestamp(self.now + self.seconds, UTC)
        )
        return Credentials(f"STS.{self.now - BEGIN:g}", "secret", "token", ends)

    def key(self, chance=0.5):
        """Return a key that is renewed from here."""
        return RenewedCredentials(self.fetch, clock=self.clock, chance=lambda: chance)


async def test_there_is_no_key_before_it_was_asked_for():
    """A call that comes earlier is refused, and does not wait."""
    key = Source().key()
    with pytest.raises(CredentialsUnavailable):
        key.snapshot()
    assert key.time_left_seconds == 0


async def test_a_key_is_asked_for_off_the_loop():
    """Whatever the provider waits for, calls go on."""
    source = Source()
    await source.key().renew()
    assert source.threads[0] is not threading.current_thread()
    assert source.threads[0].daemon


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 2157), (1.0, 2516.5)])
async def test_a_key_is_replaced_with_a_third_of_its_time_left(chance, seconds):
    """Not at the same moment by all, and in time for several tries."""
    assert await Source().key(chance).renew() == pytest.approx(seconds)


async def test_a_key_whose_end_nobody_knows_is_asked_for_every_few_minutes():
    """The provider may know better than it says."""
    source = Source(seconds=None)
    key = source.key()
    assert 60 < await key.renew() < 300
    assert key.time_left_seconds is None


async def test_a_failure_keeps_the_key_until_its_end_and_says_why():
    """It is used to its end and not sent after it."""
    source = Source()
    key = source.key()
    await key.renew()
    source.now += 2500
    source.failure = CredentialsUnavailable("refused: NoPermission")

    await key.renew()

    assert key.problem == "refused: NoPermission"
    assert key.snapshot().access_key_id == "STS.0"
    # Five seconds less than STS says: a call has to get there yet.
    assert key.time_left_seconds == 1095
    source.now += 1095
    with pytest.raises(CredentialsUnavailable, match=r"ended at .*: refused: NoPermission"):
        key.snapshot()
    assert key.time_left_seconds == 0


async def test_pauses_after_failures_double_up_to_a_minute_and_differ():
    """An outage is not made worse by those who wait for its end."""
    source = Source()
    source.failure = CredentialsUnavailable("no connection")
    longest, shortest = source.key(chance=1.0), source.key(chance=0.0)
    pauses = [await longest.renew() for _ in range(9)]
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert [await shortest.renew() for _ in range(3)] == [1, 2, 4]
    assert max(pauses) == LONGEST_PAUSE_SECONDS


async def test_the_next_key_ends_the_trouble():
    """The first that comes is taken, and pauses begin anew."""
    source = Source()
    key = source.key()
    source.failure = CredentialsUnavailable("no connection")
    await key.renew()
    source.failure = None
    source.now += 1

    assert await key.renew() == pytest.approx(0.65 * 3595)
    assert key.problem is None
    assert key.snapshot().access_key_id == "STS.1"


async def test_a_key_that_comes_too_late_replaces_nothing():
    """A provider with a cache of its own hands out such keys."""
    source = Source()
    key = source.key()
    await key.renew()
    source.seconds = -1
    await key.renew()
    assert key.problem == "the key that came has ended already"
    assert key.snapshot().access_key_id == "STS.0"


async def test_a_fault_of_ours_is_not_taken_for_a_missing_key():
    """It has to show."""
    source = Source()
    source.failure = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await source.key().renew()


async def test_a_fetch_that_nobody_waits_for_any_more_ends_alone():
    """A gateway that stops does not wait for STS."""
    source, go_on = Source(), threading.Event()

    def fetch():
        go_on.wait(30)
        return source.fetch()

    key = RenewedCredentials(fetch, clock=source.clock)
    task = asyncio.create_task(key.renew())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
