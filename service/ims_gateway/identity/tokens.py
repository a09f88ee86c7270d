"""Verifies tokens (JSON Web Tokens, signed, compact) of the issuers in issuers.yaml.

Decides whether a token's claims can be believed. Of one whose signature was not verified only the
issuer and the key's id are looked at, to find the key. What it never does: keep or show a token, or
take a key, an address or a certificate from one.

Verified tokens are remembered by their hash until they expire, and no longer than their issuer's
settings and the key that signed them are in force.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from joserfc import jws
from joserfc.errors import UnsupportedAlgorithmError
from joserfc.jws import CompactSignature, JWSRegistry

from ims_gateway.identity.key_set import PublicKey
from ims_gateway.identity.key_sets import KeySets
from ims_gateway.tenancy.files import Algorithm, IssuerFile

# A call's metadata has no room for much more.
LONGEST_TOKEN: Final = 8 * 1024
LONGEST_SUBJECT: Final = 512
# JSON can spell half a pair, and no message or record that names the caller can.
LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# For clocks that are not in step. There is none for the end: who asks until when a token is good
# wants the time that stands in it.
LEEWAY_SECONDS: Final = 10.0
REMEMBERED: Final = 4_096
# The end of the year 9999, the last that a timestamp holds.
LATEST_SECONDS: Final = 253_402_300_799
# Everything else is refused: keys and addresses of keys (jwk, jku, x5c, x5u), extensions that must
# be understood (crit, b64), tokens within tokens (cty).
HEADERS: Final = ("alg", "kid", "typ", "x5t", "x5t#S256")
ALGORITHMS: Final = get_args(Algorithm)
TYPES: Final = ("jwt", "at+jwt", "application/at+jwt")


@dataclass(frozen=True, slots=True)
class Verified:
    """What an issuer says: its settings, and the claims. `expires`: seconds since the epoch."""

    issuer: IssuerFile
    claims: Mapping[str, Any]
    expires: float

    @property
    def name(self) -> str:
        """How a record names the token: token/<issuer>/<sub>."""
        return f"token/{self.issuer.name}/{self.claims['sub']}"


@dataclass(frozen=True, slots=True)
class _Memory:
    verified: Verified
    key_name: tuple[str, str]
    key: PublicKey


class Tokens:
    """Verifies tokens of the issuers in force; `clock` gives seconds since the epoch.

    At most `remembered` tokens are kept in mind.
    """

    def __init__(
        self,
        issuers: Callable[[], Mapping[str, IssuerFile]],
        key_sets: KeySets,
        clock: Callable[[], float],
        remembered: int = REMEMBERED,
    ) -> None:
        self._issuers = issuers
        self._most = remembered
        self._key_sets = key_sets
        self._clock = clock
        self._memory: OrderedDict[bytes, _Memory] = OrderedDict()

    async def verify(self, token: str) -> Verified | None:
        """Return what a token says, None where there is any reason not to believe it."""
        if len(token) > LONGEST_TOKEN:
            return None
        place = hashlib.sha256(token.encode()).digest()
        known = self._remembered(place)
        if known is not None:
            return known
        found = await self._read(token)
        if found is None or not self._holds(found):
            return None
        self._memory[place] = found
        if len(self._memory) > self._most:
            self._memory.popitem(last=False)
        return found.verified

    def _remembered(self, place: bytes) -> Verified | None:
        found = self._memory.get(place)
        if found is None:
            return None
        if not self._holds(found):
            del self._memory[place]
            return None
        self._memory.move_to_end(place)
        return found.verified

    def _holds(self, found: _Memory) -> bool:
        """Say whether a token that was verified can still be believed."""
        issuer = found.verified.issuer
        return (
            self._clock() < found.verified.expires
            and any(issuer is known for known in self._issuers().values())
            and self._key_sets.known(issuer).get(found.key_name) == found.key
        )

    async def _read(self, token: str) -> _Memory | None:
        try:
            signed = jws.extract_compact(token.encode())
            REGISTRY.check_header(signed.headers())
            claims = _claims(signed.payload)
        except Exception:  # noqa: BLE001 - whatever a stranger's bytes lead the parsers to
            return None
        issuer = self._issuer(claims.get("iss"))
        if issuer is None or not _has_pinned_algorithm(signed, issuer):
            return None
        name = (signed.headers().get("kid", ""), signed.headers()["alg"])
        key = await self._key_sets.key(issuer, *name)
        if key is None or not _is_signed(signed, key) or not _is_meant(claims, issuer):
            return None
        now = self._clock()
        if not all(_is_past(claims, name, now + LEEWAY_SECONDS) for name in ("nbf", "iat")):
            return None
        return _Memory(Verified(issuer, claims, claims["exp"]), name, key)

    def _issuer(self, name: Any) -> IssuerFile | None:
        return next((issuer for issuer in self._issuers().values() if issuer.issuer == name), None)


class _Registry(JWSRegistry):
    """joserfc's algorithms by name. Which of them an issuer may use is decided before."""

    default_header_registry = {  # noqa: RUF012 - as joserfc declares it
        name: JWSRegistry.default_header_registry[name] for name in HEADERS
    }
    max_header_length = LONGEST_TOKEN

    def get_alg(self, name: str) -> Any:
        # joserfc warns of EdDSA at every use, as its name says nothing of the curve; ours is known.
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


REGISTRY: Final = _Registry()


def _claims(payload: bytes) -> dict[str, Any]:
    claims = json.loads(payload, parse_constant=_refuse)
    if not isinstance(claims, dict):
        raise TypeError
    return claims


def _refuse(constant: str) -> None:
    """JSON knows no NaN and no Infinity, and a time that is neither past nor future is none."""
    raise ValueError(constant)


def _has_pinned_algorithm(signed: CompactSignature, issuer: IssuerFile) -> bool:
    headers = signed.headers()
    return headers["alg"] in issuer.algorithms and headers.get("typ", "jwt").lower() in TYPES


def _is_signed(signed: CompactSignature, key: PublicKey) -> bool:
    try:
        return jws.validate_compact(signed, key, registry=REGISTRY)
    except Exception:  # noqa: BLE001 - likewise
        return False


def _is_meant(claims: Mapping[str, Any], issuer: IssuerFile) -> bool:
    """Say whether the token is for us, and says of whom and until when."""
    audience, subject, expires = claims.get("aud"), claims.get("sub"), claims.get("exp")
    audiences = audience if isinstance(audience, list) else [audience]
    return (
        any(isinstance(name, str) and name in issuer.audiences for name in audiences)
        and isinstance(subject, str)
        and 0 < len(subject) <= LONGEST_SUBJECT
        and not LONE_SURROGATE.search(subject)
        and _is_time(expires)
    )


def _is_past(claims: Mapping[str, Any], name: str, now: float) -> bool:
    """Say whether a time lies in the past, if there is one."""
    return name not in claims or (_is_time(claims[name]) and claims[name] <= now)


def _is_time(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value <= LATEST_SECONDS
    )
