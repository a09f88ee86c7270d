"""How files say who somebody is: API keys, tokens of an issuer, SPIFFE ids."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from ims_gateway.tenancy.shape import File, Name, unique

# https://spiffe.io/docs/latest/spiffe-specs/spiffe-id: no query, no fragment, no empty segment.
SpiffeId = Annotated[
    str,
    StringConstraints(pattern=r"^spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+$", max_length=2048),
]
Claim = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class KeyFile(File):
    """One API key: its id and what `imsgw keys create` printed as its hash."""

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-z]{8}$")]
    hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    expires: datetime | None = None
    disabled: bool = False

    @model_validator(mode="after")
    def _has_zone(self) -> KeyFile:
        if self.expires is not None and self.expires.tzinfo is None:
            raise ValueError("expires needs a time zone, such as 2027-01-01T00:00:00Z")
        return self


class TokenFile(File):
    """Tokens of an issuer in issuers.yaml whose claims are these; a list claim must hold the value.

    All claims named must fit.
    """

    issuer: Name
    claims: Annotated[dict[Claim, Claim], Field(min_length=1, max_length=8)]


class PrincipalFile(File):
    """One caller: its roles, and how it is recognized."""

    name: Name
    roles: tuple[Name, ...] = ()
    keys: tuple[KeyFile, ...] = ()
    tokens: tuple[TokenFile, ...] = ()
    spiffe_ids: tuple[SpiffeId, ...] = ()


class OperatorFile(File):
    """One operator of the platform. It has no roles, since no policy is asked about it."""

    name: Name
    keys: tuple[KeyFile, ...] = ()
    tokens: tuple[TokenFile, ...] = ()
    spiffe_ids: tuple[SpiffeId, ...] = ()

    @model_validator(mode="after")
    def _can_be_recognized(self) -> OperatorFile:
        if not (self.keys or self.tokens or self.spiffe_ids):
            raise ValueError("needs keys, tokens or spiffe_ids")
        return self


class OperatorsFile(File):
    """The operators of the platform."""

    operators: Annotated[tuple[OperatorFile, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> OperatorsFile:
        unique_principals("operator", self.operators)
        return self


def unique_principals(what: str, found: Sequence[PrincipalFile | OperatorFile]) -> None:
    """Raise ValueError where a name stands twice, or what somebody is recognized by."""
    unique(what, [principal.name for principal in found])
    keys = [key for principal in found for key in principal.keys]
    unique("key", [key.id for key in keys])
    unique("SPIFFE id", [spiffe_id for principal in found for spiffe_id in principal.spiffe_ids])
    by_hash = {key.hash: key.id for key in keys}
    again = [key.id for key in keys if by_hash[key.hash] != key.id]
    if again:
        raise ValueError(f"key {again[0]} stands twice, under another id")
    tokens = [(token.issuer, sorted(token.claims.items())) for p in found for token in p.tokens]
    if any(token in tokens[:number] for number, token in enumerate(tokens)):
        raise ValueError("the same claims of one issuer stand twice")
