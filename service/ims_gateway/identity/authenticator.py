"""Decides who calls, from the metadata of a call alone. It never says which check failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from ims_gateway.errors import NotAuthenticated
from ims_gateway.identity.keys import SHAPE, key_hash
from ims_gateway.identity.principal import Principal
from ims_gateway.tenancy.directory import Directory

Metadata = Iterable[tuple[str, str | bytes]]


class Authenticator:
    """Turns `authorization: Bearer <API key>` into a principal.

    `directory` returns the one in force.
    """

    def __init__(
        self, directory: Callable[[], Directory], pepper: bytes, clock: Callable[[], float]
    ) -> None:
        self._directory = directory
        self._pepper = pepper
        self._clock = clock

    def authenticate(self, metadata: Metadata) -> Principal:
        """Return the caller.

        The lookup is by keyed hash: how long it takes says nothing about the secret.

        Raises NotAuthenticated for no, several, malformed, unknown, expired or disabled keys alike.
        """
        values = [value for name, value in metadata if name == "authorization"]
        if len(values) != 1 or not isinstance(values[0], str):
            raise NotAuthenticated
        scheme, _, key = values[0].partition(" ")
        if scheme.lower() != "bearer" or not SHAPE.fullmatch(key):
            raise NotAuthenticated
        entry = self._directory().key(key_hash(key, self._pepper))
        if entry is None or not entry.valid_at(self._clock()):
            raise NotAuthenticated
        return replace(entry.principal, credential=f"key/{entry.key_id}")
