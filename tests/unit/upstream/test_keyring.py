import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from ims_gateway.upstream.credentials import Credentials, CredentialsUnavailable, FileCredentials
from ims_gateway.upstream.keyring import Keyring
from ims_gateway.upstream.renewal import RenewedCredentials

GOOD = "access_key_id: LTAI1\naccess_key_secret: hush-hush\n"


def a_key():
    """Return a key that is good for an hour."""
    return Credentials("STS.1", "secret", "token", datetime.now(UTC) + timedelta(hours=1))


@pytest.fixture
def told():
    """Give an event that is set with every change, for tests to wait for."""
    return asyncio.Event()


async def test_a_start_waits_for_the_first_keys(told):
    """Then no call of the first second has to be refused."""
    key = RenewedCredentials(a_key)
    async with Keyring({"main": key}, told.set) as keyring:
        assert key.snapshot().access_key_id == "STS.1"
        assert 3500 < keyring.time_left_seconds()["main"] <= 3600
        assert not keyring.problems


async def test_a_start_does_not_wait_long_for_a_service_that_hangs(told):
    """It goes on without that key, says so, and takes the key when it comes."""
    go_on = threading.Event()

    def fetch():
        go_on.wait(30)
        return a_key()

    hanging, other = RenewedCredentials(fetch), RenewedCredentials(a_key)
    async with Keyring({"main": hanging, "other": other}, told.set, start_seconds=0.1) as keyring:
        assert keyring.problems == {"main": "no key yet"}
        assert other.snapshot()
        told.clear()
        go_on.set()
        await told.wait()
        assert not keyring.problems
        assert hanging.snapshot()


async def test_an_account_without_a_key_has_no_time_left(told):
    """The alarm's rule needs a number."""

    def fetch():
        raise CredentialsUnavailable("refused: NoPermission")

    async with Keyring({"main": RenewedCredentials(fetch)}, told.set) as keyring:
        assert keyring.problems == {"main": "refused: NoPermission"}
        assert keyring.time_left_seconds() == {"main": 0}


async def test_a_fault_of_ours_ends_no_renewal(told):
    """It is a problem of the account, and there will be another try."""

    def fetch():
        raise ZeroDivisionError

    async with Keyring({"main": RenewedCredentials(fetch)}, told.set) as keyring:
        assert keyring.problems == {"main": "a fault of the gateway, see the log"}


async def test_a_file_that_went_bad_is_told_without_any_call(told, tmp_path):
    """Keys of one's own are looked after, too; they have no end that could be shown."""
    path = tmp_path / "key.yaml"
    path.write_text(GOOD)
    seconds = iter(range(0, 1000, 10))
    key = FileCredentials(path, clock=lambda: next(seconds))
    path.write_text("nonsense")
    async with Keyring({"main": key}, told.set) as keyring:
        await told.wait()
        assert "must hold access_key_id" in keyring.problems["main"]
        assert not keyring.time_left_seconds()
