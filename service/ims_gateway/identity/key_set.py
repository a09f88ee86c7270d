"""Reads a JSON Web Key Set (RFC 7517): which key verifies which algorithm.

Decides what a key is good for: its kind, its curve, and what it says of itself. A key that could
also sign (symmetric, or private by mistake) and an RSA key below 2048 bits are left out, and so is
one without an id. What it never does: fetch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.util import base64_to_int

PublicKey = RSAKey | ECKey | OKPKey
# By key id and algorithm: a key is never tried with an algorithm that is not its own.
KeySet = Mapping[tuple[str, str], PublicKey]

RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
SMALLEST_RSA_BITS: Final = 2048


class UnusableKeys(Exception):  # noqa: N818 - named like a refusal
    """Keys that cannot be had, or that nobody can make sense of. The text quotes none of them."""


def read(document: bytes) -> KeySet:
    """Return the keys of a set that can verify a signature.

    A set without any is the issuer's word, too: nothing is believed then. Raises UnusableKeys for
    what is no key set, and where one id stands for two keys of the same use.
    """
    found: dict[tuple[str, str], PublicKey] = {}
    for jwk in _members(document):
        for algorithm, key in _uses(jwk):
            name = (str(jwk["kid"]), algorithm)
            if found.setdefault(name, key) != key:
                raise UnusableKeys("two keys have the same id")
    return found


def _members(document: bytes) -> list[Any]:
    try:
        content = json.loads(document)
    except (ValueError, RecursionError):
        raise UnusableKeys("not JSON") from None
    members = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(members, list):
        raise UnusableKeys("not a JSON Web Key Set")
    return members


def _uses(jwk: Any) -> Iterator[tuple[str, PublicKey]]:
    """Yield the algorithms that the key verifies, with the key."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str) or "d" in jwk:
        return
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or "verify" not in operations:
        return
    try:
        algorithms, key = _imported(jwk)
    except (UnusableKeys, JoseError, ValueError, TypeError, KeyError, AttributeError):
        return
    for algorithm in algorithms:
        if jwk.get("alg", algorithm) == algorithm:
            yield algorithm, key


def _imported(jwk: dict[str, Any]) -> tuple[tuple[str, ...], PublicKey]:
    match jwk.get("kty"):
        case "RSA" if base64_to_int(jwk["n"]).bit_length() >= SMALLEST_RSA_BITS:
            return RSA_ALGORITHMS, RSAKey.import_key(jwk)
        case "EC":
            return (CURVES[jwk["crv"]],), ECKey.import_key(jwk)
        case "OKP":
            return (CURVES[jwk["crv"]],), OKPKey.import_key(jwk)
    raise UnusableKeys("a key of no use")
