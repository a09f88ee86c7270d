"""A token's claims are believed only where nothing speaks against it."""

import base64
import json

import pytest
from joserfc import jwe

from ims_gateway.identity.key_set import UnusableKeys
from ims_gateway.identity.key_sets import KeySets
from ims_gateway.identity.tokens import Tokens
from tests.issuers import ALL, SUBJECT, a_key, a_token, an_issuer, claims, confused, jwks, unsigned

NOW = 1_800_000_000.0
KINDS = {"RS256": "RSA", "ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}
KEYS = {kind: a_key(kind, kind) for kind in KINDS.values()}
ONE, OTHER, REPLACED = KEYS["RSA"], a_key("RSA"), a_key("replaced")
OTHERS_KEY = a_key("of another issuer")
PUBLIC_PEM = ONE.as_pem(private=False)


class World:
    """A verifier of two issuers, with a clock and key sets to change."""

    def __init__(self):
        self.now = NOW
        elsewhere = an_issuer(name="elsewhere", issuer="https://else.where")
        self.issuers = {"cluster": an_issuer(), "elsewhere": elsewhere}
        self.published = {"cluster": jwks(*KEYS.values()), "elsewhere": jwks(OTHERS_KEY)}
        self.asked = 0
        self.key_sets = KeySets(lambda: self.issuers, self.retrieve, lambda: self.now)
        self.tokens = Tokens(lambda: self.issuers, self.key_sets, lambda: self.now)

    async def retrieve(self, issuer):
        """Return what the issuer publishes."""
        self.asked += 1
        document = self.published[issuer.name]
        if document is None:
            raise UnusableKeys("away")
        return document


@pytest.fixture
def world():
    """Return a verifier."""
    return World()


def good(**changes):
    """Return good claims with changes."""
    return claims(NOW, **changes)


@pytest.mark.parametrize("alg", [*KINDS, "PS384"])
async def test_a_good_token_is_believed(world, alg):
    """Whatever the pinned algorithm."""
    key = KEYS[KINDS.get(alg, "RSA")]

    verified = await world.tokens.verify(a_token(key, good(), alg=alg))

    assert verified.claims["sub"] == SUBJECT
    assert verified.name == f"token/cluster/{SUBJECT}"
    assert verified.expires == NOW + 600


FINE = {
    "audience as text": a_token(ONE, good(aud="ims-gateway")),
    "several audiences": a_token(ONE, good(aud=["x", "ims-gateway"])),
    "no iat": a_token(ONE, good(iat=None)),
    "nbf just ahead": a_token(ONE, good(nbf=NOW + 9)),
    "no typ": a_token(ONE, good(), typ=None),
    "an access token": a_token(ONE, good(), typ="at+JWT"),
    "a thumbprint": a_token(ONE, good(), x5t="abc"),
}


@pytest.mark.parametrize("token", FINE.values(), ids=FINE.keys())
async def test_what_issuers_do_differently_is_believed(world, token):
    """Nothing is asked for that RFC 7519 leaves open, but sub and exp and aud."""
    assert await world.tokens.verify(token)


def encoded(value):
    """Return a part of a token."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def parts(token, **changes):
    """Return the token with parts of it replaced: 0 header, 1 payload, 2 signature."""
    found = token.split(".")
    return ".".join(changes.get(f"part{number}", part) for number, part in enumerate(found))


GOOD = a_token(ONE, good())
JWK = ONE.as_dict(private=False)
BAD = {
    "expired": a_token(ONE, good(exp=NOW)),
    "no exp": a_token(ONE, good(exp=None)),
    "exp as text": a_token(ONE, good(exp=str(NOW + 600))),
    "exp as truth": a_token(ONE, good(exp=True)),
    "exp without end": a_token(ONE, json.dumps(good() | {"exp": float("inf")}).encode()),
    "exp beyond all": a_token(ONE, json.dumps(good()).encode()[:-1] + b',"exp":1e999}'),
    "exp of many digits": a_token(ONE, good(exp=10**400)),
    "exp no number": a_token(ONE, json.dumps(good() | {"exp": float("nan")}).encode()),
    "another audience": a_token(ONE, good(aud="somebody-else")),
    "part of the audience": a_token(ONE, good(aud="ims")),
    "no aud": a_token(ONE, good(aud=None)),
    "empty aud": a_token(ONE, good(aud=[])),
    "aud of another kind": a_token(ONE, good(aud={"ims-gateway": 1})),
    "no sub": a_token(ONE, good(sub=None)),
    "empty sub": a_token(ONE, good(sub="")),
    "sub of another kind": a_token(ONE, good(sub=1)),
    "sub of half a surrogate pair": a_token(ONE, good(sub="root\ud800")),
    "long sub": a_token(ONE, good(sub="x" * 513)),
    "future nbf": a_token(ONE, good(nbf=NOW + 11)),
    "future iat": a_token(ONE, good(iat=NOW + 11)),
    "nbf as text": a_token(ONE, good(nbf="now")),
    "another issuer": a_token(ONE, good(iss="https://somebody.else")),
    "issuer of another case": a_token(ONE, good(iss="HTTPS://kubernetes.default.svc")),
    "no issuer": a_token(ONE, good(iss=None)),
    "issuer of another kind": a_token(ONE, good(iss=["https://kubernetes.default.svc"])),
    "another issuer's key": a_token(OTHERS_KEY, good()),
    "the other issuer, our key": a_token(ONE, good(iss="https://else.where")),
    "unknown key": a_token(a_key("never seen"), good()),
    "another key under a known id": a_token(OTHER, good()),
    "no key id": a_token(ONE, good(), kid=None),
    "none": unsigned(good(), "RSA"),
    "None": parts(GOOD, part0=encoded(b'{"alg":"None","kid":"RSA"}'), part2=""),
    "none, signed": parts(GOOD, part0=encoded(b'{"alg":"none","kid":"RSA"}')),
    "no signature": parts(GOOD, part2=""),
    "another's signature": parts(GOOD, part2=a_token(OTHER, good()).split(".")[2]),
    "changed claims": parts(GOOD, part1=encoded(json.dumps(good(sub="root")).encode())),
    "changed header": parts(GOOD, part0=encoded(b'{"alg":"RS256","kid":"RSA","typ":"jwt"}')),
    "padding": GOOD + "==",
    "four parts": GOOD + ".x",
    "two parts": GOOD.rpartition(".")[0],
    "HMAC with the public key": confused(PUBLIC_PEM, good(), "RSA"),
    "HMAC with the published key": confused(json.dumps(JWK).encode(), good(), "RSA"),
    "HMAC with its modulus": confused(JWK["n"].encode(), good(), "RSA"),
    "an algorithm that is not pinned": a_token(ONE, good(), alg="RS512"),
    "an algorithm of another kind of key": a_token(ONE, good(), kid="P-256"),
    "embedded key": a_token(OTHER, good(), jwk=OTHER.as_dict(private=False)),
    "embedded key that is ours": a_token(ONE, good(), jwk=JWK),
    "address of keys": a_token(ONE, good(), jku="https://evil.test/jwks"),
    "address of a certificate": a_token(ONE, good(), x5u="https://evil.test/x"),
    "embedded certificate": a_token(ONE, good(), x5c=["MIIB"]),
    "an extension": a_token(ONE, good(), crit=["exp"], exp=1),
    "an empty list of extensions": a_token(ONE, good(), crit=[]),
    "unencoded payload": a_token(ONE, good(), b64=True),
    "an unknown header": a_token(ONE, good(), foo="bar"),
    "a token within": a_token(ONE, GOOD.encode(), cty="JWT"),
    "a logout token": a_token(ONE, good(), typ="logout+jwt"),
    "encrypted": jwe.encrypt_compact(
        {"alg": "RSA-OAEP", "enc": "A256GCM", "kid": "RSA"}, json.dumps(good()), ONE
    ),
    "a list": a_token(ONE, json.dumps([good()]).encode()),
    "no claims": a_token(ONE, b""),
    "claims that are no text": a_token(ONE, b"\xff\xfe"),
    "deep claims": a_token(ONE, b"[" * 5000),
    "deep header": encoded(b"[" * 4000) + ".e30.x",
    "header of another kind": encoded(b"[]") + ".e30.x",
    "alg of another kind": encoded(b'{"alg":["RS256"],"kid":"RSA"}') + ".e30.x",
    "kid of another kind": encoded(b'{"alg":"RS256","kid":{}}') + ".e30.x",
    "empty": "",
    "dots": "..",
    "not ASCII": GOOD[:-1] + "é",
    "long": a_token(ONE, good(more="x" * 8000)),
    "very long": "a" * 10_000_000,
}


@pytest.mark.parametrize("token", BAD.values(), ids=BAD.keys())
async def test_every_other_token_is_refused(world, token):
    """And nothing of it is remembered."""
    assert await world.tokens.verify(token) is None
    assert not world.tokens._memory


def test_the_good_token_of_the_bad_ones_is_good():
    """Or they would be bad for another reason."""
    assert GOOD.count(".") == 2
    assert set(ALL) > set(KINDS)


async def test_a_remembered_token_is_verified_once_and_expires_all_the_same(world):
    """Up to the moment that stands in it, and not at that moment."""
    first = await world.tokens.verify(GOOD)
    assert await world.tokens.verify(GOOD) is first
    world.now = NOW + 599.9
    assert await world.tokens.verify(GOOD) is first
    world.now = NOW + 600
    assert await world.tokens.verify(GOOD) is None
    assert not world.tokens._memory


async def test_memory_is_bounded_and_holds_no_token(world):
    """What was not used for longest is forgotten first, and can be verified anew."""
    world.tokens = Tokens(lambda: world.issuers, world.key_sets, lambda: NOW, remembered=2)
    first, second, third = (a_token(KEYS["P-256"], good(n=n), alg="ES256") for n in range(3))
    for token in (first, second, first, third):
        assert await world.tokens.verify(token)
    assert len(world.tokens._memory) == 2
    known = [found.verified.claims["n"] for found in world.tokens._memory.values()]
    assert known == [0, 2]
    assert all(len(place) == 32 for place in world.tokens._memory)
    assert await world.tokens.verify(second)


async def test_a_remembered_token_is_forgotten_with_its_key(world):
    """Also where another key took over its id; and comes back with it, as nothing is held."""
    assert await world.tokens.verify(GOOD)
    for keys in ([OTHER], [], [OTHERS_KEY]):
        world.published["cluster"] = jwks(*keys)
        await refreshed(world)
        assert await world.tokens.verify(GOOD) is None


async def test_a_remembered_token_is_forgotten_with_its_issuer_s_settings(world):
    """An audience that was taken out, an algorithm that is no longer pinned, the issuer itself."""
    issuer = world.issuers["cluster"]
    for changes in ({"audiences": ["other"]}, {"algorithms": ["ES256"]}, {"issuer": "https://x.y"}):
        world.issuers["cluster"] = issuer
        assert await world.tokens.verify(GOOD)
        world.issuers["cluster"] = an_issuer(**changes)
        assert await world.tokens.verify(GOOD) is None
    del world.issuers["cluster"]
    assert await world.tokens.verify(GOOD) is None


async def test_a_token_whose_key_goes_while_it_is_verified_is_refused(world):
    """The last look is at what is in force by then."""
    retrieve = world.retrieve

    async def retrieve_and_drop(issuer):
        document = await retrieve(issuer)
        del world.issuers["cluster"]
        return document

    world.key_sets._retrieve = retrieve_and_drop
    assert await world.tokens.verify(GOOD) is None


async def refreshed(world):
    """Let a minute pass and the keys be fetched."""
    world.now += 60
    world.key_sets.refresh()
    await world.key_sets._source(world.issuers["cluster"])._fetch
