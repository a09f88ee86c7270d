"""Who calls is known from a good key alone, and a bad one is refused without a reason."""

from datetime import UTC, datetime

import pytest

from ims_gateway.errors import NotAuthenticated
from ims_gateway.identity.authenticator import Authenticator
from ims_gateway.identity.key_set import UnusableKeys
from ims_gateway.identity.key_sets import KeySets
from ims_gateway.identity.keys import key_hash, new_key
from ims_gateway.identity.principal import Principal
from ims_gateway.identity.tokens import Tokens
from ims_gateway.tenancy.tenant import Credentials, KeyEntry
from tests.tenants import a_tenant, directory_of

PEPPER = b"a pepper of the gateway's own"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
FARM = Principal("principal/farm", "acme", ("editor",))
DESK = Principal("principal/desk", "acme")
KEYS = {name: new_key()[1] for name in ("old", "new", "expired", "disabled", "desk", "unknown")}


def entry(name, principal=FARM, **rest):
    """Return what the tenant's file holds of a key."""
    return KeyEntry(name, key_hash(KEYS[name], PEPPER), principal, **rest)


def authenticator(*, pepper=PEPPER, clock=NOW.timestamp):
    """Return an authenticator for one tenant's keys."""
    keys = (
        entry("old", expires=datetime(2026, 6, 2, tzinfo=UTC)),
        entry("new"),
        entry("expired", expires=NOW),
        entry("disabled", disabled=True),
        entry("desk", DESK),
    )
    directory = directory_of([a_tenant(credentials=Credentials(keys))])
    key_sets = KeySets(dict, nothing, clock)
    return Authenticator(lambda: directory, Tokens(dict, key_sets, clock), pepper, clock)


async def nothing(_):
    """Fetch no keys."""
    raise UnusableKeys("none")


def bearer(key):
    """Return the metadata of a call."""
    return (("user-agent", "test"), ("authorization", f"Bearer {key}"))


@pytest.mark.parametrize(("name", "principal"), [("old", FARM), ("new", FARM), ("desk", DESK)])
async def test_a_good_key_is_its_principal(name, principal):
    """Several keys of one principal are good at a time, so that they can be changed."""
    assert await authenticator().authenticate(bearer(KEYS[name])) == principal


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
async def test_the_scheme_s_case_does_not_matter(scheme):
    """As RFC 9110 says."""
    metadata = (("authorization", f"{scheme} {KEYS['new']}"),)

    assert await authenticator().authenticate(metadata) == FARM


GOOD = KEYS["new"]
BAD = {
    "nothing": (),
    "other metadata": (("x-api-key", GOOD),),
    "another case of the name": (("Authorization", f"Bearer {GOOD}"),),
    "the same twice": bearer(GOOD) + bearer(GOOD),
    "a good one and a bad one": bearer(GOOD) + bearer("x"),
    "bytes": (("authorization", f"Bearer {GOOD}".encode()),),
    "empty": (("authorization", ""),),
    "scheme alone": (("authorization", "Bearer"),),
    "scheme and space": (("authorization", "Bearer "),),
    "no scheme": (("authorization", GOOD),),
    "another scheme": (("authorization", f"Basic {GOOD}"),),
    "two spaces": (("authorization", f"Bearer  {GOOD}"),),
    "space behind": (("authorization", f"Bearer {GOOD} "),),
    "line end behind": (("authorization", f"Bearer {GOOD}\n"),),
    "more behind": (("authorization", f"Bearer {GOOD},{GOOD}"),),
    "too short": bearer(GOOD[:-1]),
    "too long": bearer(GOOD + "A"),
    "very long": bearer("imsk_" + "a" * 1_000_000),
    "not ASCII": bearer(GOOD[:-1] + "é"),
    "another prefix": bearer("x" + GOOD[1:]),
    "the id of one, the secret of another": bearer(KEYS["old"][:14] + GOOD[14:]),
    "unknown": bearer(KEYS["unknown"]),
    "a hash": bearer(key_hash(GOOD, PEPPER)),
    "expired": bearer(KEYS["expired"]),
    "disabled": bearer(KEYS["disabled"]),
}


@pytest.mark.parametrize("metadata", BAD.values(), ids=BAD.keys())
async def test_every_bad_key_is_refused_alike(metadata):
    """The refusal is the same to the letter, so it tells nobody which check failed."""
    with pytest.raises(NotAuthenticated) as raised:
        await authenticator().authenticate(metadata)

    assert vars(raised.value) == vars(NotAuthenticated())
    assert raised.value.metadata == {}
    assert raised.value.__cause__ is None


async def test_a_key_is_good_up_to_the_moment_it_expires():
    """And not at that moment."""
    end = datetime(2026, 6, 2, tzinfo=UTC).timestamp()

    assert await authenticator(clock=lambda: end - 1e-6).authenticate(bearer(KEYS["old"])) == FARM
    with pytest.raises(NotAuthenticated):
        await authenticator(clock=lambda: end).authenticate(bearer(KEYS["old"]))


async def test_the_clock_is_asked_at_every_call():
    """A key expires in a process that runs on."""
    times = iter([NOW.timestamp(), NOW.timestamp() + 86_400])
    checked = authenticator(clock=lambda: next(times))

    assert await checked.authenticate(bearer(KEYS["old"])) == FARM
    with pytest.raises(NotAuthenticated):
        await checked.authenticate(bearer(KEYS["old"]))


async def test_keys_are_good_under_their_pepper_only():
    """Hashes that were made under another pepper match nothing."""
    with pytest.raises(NotAuthenticated):
        await authenticator(pepper=b"another").authenticate(bearer(GOOD))
