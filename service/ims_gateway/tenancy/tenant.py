"""A tenant, as the rest of the gateway sees it: immutable, and swapped whole on a change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ims_gateway.identity.principal import Principal
from ims_gateway.policy.grant import Grant
from ims_gateway.quota.limits import Limit


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One API key of a principal; several may be valid at a time, for rotation."""

    key_id: str
    hash: str
    principal: Principal
    expires: datetime | None = None
    disabled: bool = False

    def valid_at(self, now: float) -> bool:
        """Say whether the key is accepted at `now`, in seconds since the epoch."""
        return not self.disabled and (self.expires is None or now < self.expires.timestamp())


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """The claims by which a principal is recognized in the tokens of an issuer."""

    issuer: str
    claims: tuple[tuple[str, str], ...]
    principal: Principal


@dataclass(frozen=True, slots=True)
class Credentials:
    """All by which principals are recognized; `spiffe_ids` by id."""

    keys: tuple[KeyEntry, ...] = ()
    tokens: tuple[TokenEntry, ...] = ()
    spiffe_ids: Mapping[str, Principal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant's file, parsed and checked.

    `version` is a hash of the file and of the platform's rules, so that a decision can be told from
    one under other rules. `default_output` is a folder such as oss://bucket/folder, or empty.
    `roles` maps each subject ("principal/render-farm", "role/lead") to the roles that it has.
    `shadow_grants` are on trial; None where none are. Its days are those of `time_zone`
    (IANA). `weight` is what the tenant gets of its account, in relation to others.
    """

    name: str
    version: str
    account: str
    region: str
    default_output: str
    credentials: Credentials
    roles: Mapping[str, tuple[str, ...]]
    grants: tuple[Grant, ...]
    limits: tuple[Limit, ...]
    shadow_grants: tuple[Grant, ...] | None = None
    time_zone: str = "UTC"
    weight: int = 1

    @property
    def resource(self) -> str:
        """The tenant's resource name, tenants/{tenant}."""
        return f"tenants/{self.name}"
