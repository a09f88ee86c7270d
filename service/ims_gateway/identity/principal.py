"""A caller that was authenticated."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: `principal/<name>` of one tenant, with the roles that the tenant's file gives.

    An operator of the platform belongs to no tenant, and its `tenant` is empty. `credential` says
    by what it was recognized, for the record: key/<id>, token/<issuer>/<sub>, or a SPIFFE id.
    `expires` is when the credential ends, in seconds since the epoch; None where it does not.
    """

    name: str
    tenant: str
    roles: tuple[str, ...] = ()
    operator: bool = False
    credential: str = field(default="", compare=False)
    expires: float | None = field(default=None, compare=False)

    def is_same_as(self, other: Principal) -> bool:
        """Say whether both are one caller, whatever roles it has by now."""
        return (self.name, self.tenant, self.operator) == (other.name, other.tenant, other.operator)

    def acting_in(self, tenant: str) -> str:
        """Return the subject that policies of the tenant know this caller as."""
        if tenant == self.tenant:
            return self.name
        return f"tenants/{self.tenant}/principals/{self.name.removeprefix('principal/')}"
