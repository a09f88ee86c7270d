"""Decides who calls, from a call's metadata and its connection. It never says which check failed.

A bearer credential decides where there is one: a bad one is refused, however good the connection's
certificate is. Without one, the SPIFFE id of the certificate does.

Every refusal is the same to the letter. How long one takes says something about what the caller
wrote itself and about what is public (issuers, their keys), and nothing about a secret: API keys
are looked up by a keyed hash, and of a token nothing is compared before its signature holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from ims_gateway.errors import NotAuthenticated
from ims_gateway.identity.keys import PREFIX, SHAPE, key_hash
from ims_gateway.identity.principal import Principal
from ims_gateway.identity.tokens import Tokens
from ims_gateway.tenancy.directory import Directory

Metadata = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a connection, by a certificate that was verified.

    The SPIFFE id is empty where there is none. `expires`: of the certificate, in seconds since the
    epoch.
    """

    spiffe_id: str = ""
    expires: float = 0.0


NOBODY: Final = Peer()


class Authenticator:
    """Turns API keys, tokens and certificates into principals.

    `directory` returns the one in force, and is asked at every call: who was taken out of it is
    nobody from then on, whatever was verified before. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        directory: Callable[[], Directory],
        tokens: Tokens,
        pepper: bytes,
        clock: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._tokens = tokens
        self._pepper = pepper
        self._clock = clock

    async def authenticate(self, metadata: Metadata, peer: Peer = NOBODY) -> Principal:
        """Return the caller.

        Raises NotAuthenticated for every credential that is missing, malformed, unknown, expired,
        disabled or there twice, all alike.
        """
        values = [value for name, value in metadata if name == "authorization"]
        found = await self._bearer(values) if values else self._certificate(peer)
        if found is None:
            raise NotAuthenticated
        return found

    async def _bearer(self, values: list[str | bytes]) -> Principal | None:
        if len(values) != 1 or not isinstance(values[0], str):
            return None
        scheme, _, credential = values[0].partition(" ")
        if scheme.lower() != "bearer":
            return None
        if credential.startswith(f"{PREFIX}_"):
            return self._key(credential)
        return await self._token(credential)

    def _key(self, key: str) -> Principal | None:
        if not SHAPE.fullmatch(key):
            return None
        entry = self._directory().key(key_hash(key, self._pepper))
        if entry is None or not entry.valid_at(self._clock()):
            return None
        expires = entry.expires.timestamp() if entry.expires else None
        return replace(entry.principal, credential=f"key/{entry.key_id}", expires=expires)

    async def _token(self, token: str) -> Principal | None:
        verified = await self._tokens.verify(token)
        if verified is None:
            return None
        principal = self._directory().token(verified.issuer.name, verified.claims)
        if principal is None:
            return None
        return replace(principal, credential=verified.name, expires=verified.expires)

    def _certificate(self, peer: Peer) -> Principal | None:
        # A connection outlives the certificate that it began with.
        if not peer.spiffe_id or self._clock() >= peer.expires:
            return None
        principal = self._directory().spiffe_id(peer.spiffe_id)
        if principal is None:
            return None
        return replace(principal, credential=peer.spiffe_id, expires=peer.expires)
