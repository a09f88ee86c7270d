"""Keys are fetched when they are due or unknown, and never so often that anybody notices."""

import asyncio
import json

import pytest

from ims_gateway.identity.key_set import UnusableKeys, read
from ims_gateway.identity.key_sets import KeySets
from tests.issuers import a_key, an_issuer, jwks

ONE, TWO = a_key("one", "P-256"), a_key("two", "P-256")
RSA = a_key("rsa")


class Publisher:
    """Issuers, what they publish, and a clock."""

    def __init__(self):
        self.now = 0.0
        self.issuers = {"cluster": an_issuer()}
        self.document = jwks(ONE)
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.key_sets = KeySets(lambda: self.issuers, self.retrieve, lambda: self.now)

    async def retrieve(self, _):
        """Return what is published, once the gate is open."""
        self.asked += 1
        await self.gate.wait()
        if self.document is None:
            raise UnusableKeys("away")
        return self.document

    def key(self, key_id):
        """Ask for a key."""
        return self.key_sets.key(self.issuers["cluster"], key_id, "ES256")

    async def refreshed(self):
        """Fetch what is due."""
        self.key_sets.refresh()
        await until_idle()


async def until_idle():
    """Let every task run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def publisher():
    """Return an issuer with one key."""
    return Publisher()


async def test_the_first_caller_fetches_the_keys(publisher):
    """A gateway that just started knows none."""
    assert (await publisher.key("one")).kid == "one"
    assert publisher.asked == 1


async def test_a_storm_of_unknown_keys_is_one_fetch_a_minute(publisher):
    """However many callers and invented keys: they share it, or are told no at once."""
    publisher.gate.clear()
    storm = [asyncio.create_task(publisher.key(f"made-up-{n}")) for n in range(500)]
    await until_idle()
    publisher.gate.set()
    assert await asyncio.gather(*storm) == [None] * 500
    assert publisher.asked == 1
    publisher.now = 59.9
    assert await asyncio.gather(*(publisher.key(f"more-{n}") for n in range(500))) == [None] * 500
    assert publisher.asked == 1
    publisher.now = 60
    await asyncio.gather(*(publisher.key(f"more-{n}") for n in range(500)))
    assert publisher.asked == 2


async def test_a_new_key_is_found_at_once(publisher):
    """An issuer that rotates its keys needs to wait for nobody."""
    await publisher.refreshed()
    publisher.document = jwks(ONE, TWO)
    assert (await publisher.key("two")).kid == "two"


async def test_a_removed_key_is_gone_within_a_minute(publisher):
    """Also while it is in use."""
    assert await publisher.key("one")
    publisher.document = jwks(TWO)
    publisher.now = 60
    await publisher.refreshed()
    assert await publisher.key("one") is None
    assert ("two", "ES256") in publisher.key_sets.known(publisher.issuers["cluster"])


async def test_an_empty_key_set_is_believed(publisher):
    """It is how an issuer takes everything back."""
    assert await publisher.key("one")
    publisher.document = jwks()
    publisher.now = 60
    await publisher.refreshed()
    assert await publisher.key("one") is None


@pytest.mark.parametrize("document", [None, b"", b"<html>", b"[]", b'{"keys": {}}', b"[" * 10_000])
async def test_the_last_good_keys_stay(publisher, document):
    """Whatever the endpoint answers, and however long."""
    assert await publisher.key("one")
    publisher.document = document
    for _ in range(5):
        publisher.now += 60
        await publisher.refreshed()
    assert publisher.asked == 6
    assert (await publisher.key("one")).kid == "one"
    publisher.document = jwks(TWO)
    publisher.now += 60
    await publisher.refreshed()
    assert await publisher.key("one") is None


async def test_a_hanging_endpoint_holds_up_only_callers_with_unknown_keys(publisher):
    """Everybody else is answered without waiting."""
    assert await publisher.key("one")
    publisher.gate.clear()
    publisher.now = 60
    publisher.key_sets.refresh()
    unknown = asyncio.create_task(publisher.key("two"))
    await until_idle()
    answered = asyncio.create_task(publisher.key("one"))
    await until_idle()
    assert answered.done()
    assert not unknown.done()
    publisher.gate.set()
    assert await unknown is None


async def test_a_caller_that_hangs_up_does_not_end_the_fetch_of_others(publisher):
    """It was only the first to ask."""
    publisher.gate.clear()
    first, second = (asyncio.create_task(publisher.key("one")) for _ in range(2))
    await until_idle()
    first.cancel()
    await until_idle()
    publisher.gate.set()
    assert (await second).kid == "one"


async def test_keys_of_another_place_are_not_taken_over(publisher):
    """An issuer whose keys come from elsewhere has none of those that it had."""
    assert await publisher.key("one")
    publisher.issuers["cluster"] = an_issuer(jwks_url="https://else.where/jwks")
    publisher.document = jwks(TWO)
    await publisher.refreshed()
    assert await publisher.key("one") is None
    assert await publisher.key("two")
    publisher.issuers.clear()
    await publisher.refreshed()
    assert not publisher.key_sets._sources


async def test_a_change_of_settings_keeps_the_keys(publisher):
    """Where only the audience is another one, nobody has to wait for the endpoint."""
    assert await publisher.key("one")
    publisher.document = None
    publisher.issuers["cluster"] = an_issuer(audiences=["other"])
    await publisher.refreshed()
    assert await publisher.key("one")


LEFT_OUT = {
    "symmetric": {"kty": "oct", "k": "AAAA"},
    "no id": {"kid": None},
    "for encryption": {"use": "enc"},
    "that cannot verify": {"key_ops": ["sign"]},
    "of an unknown kind": {"kty": "new"},
    "of an unknown curve": {"crv": "secp256k1"},
    "with a broken point": {"x": "AAAA"},
    "for another algorithm": {"alg": "ES384"},
    "with its private half": {"d": ONE.as_dict(private=True)["d"]},
}


@pytest.mark.parametrize("change", LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_a_key_of_no_use_is_left_out(change):
    """And the others of its set stay."""
    spoiled = ONE.as_dict(private=False) | change
    spoiled = {name: value for name, value in spoiled.items() if value is not None}
    document = json.dumps({"keys": [spoiled, "x", None, TWO.as_dict(private=False)]}).encode()

    assert list(read(document)) == [("two", "ES256")]


@pytest.mark.filterwarnings("ignore:Key size")
def test_a_short_rsa_key_is_left_out():
    """1024 bits are within reach."""
    short = type(RSA).generate_key(1024, {"kid": "short"})

    assert not read(jwks(short))
    assert ("rsa", "RS256") in read(jwks(RSA))


def test_two_keys_of_one_id_make_a_set_unusable():
    """Unless they are for different algorithms, as RFC 7517 allows, or the same key."""
    again = a_key("one", "P-256")

    with pytest.raises(UnusableKeys):
        read(jwks(ONE, again))
    assert len(read(jwks(ONE, ONE, a_key("one", "P-384")))) == 2
