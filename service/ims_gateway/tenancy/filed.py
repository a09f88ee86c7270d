"""A tenant's file that was found good, kept small until somebody of the tenant calls."""

from __future__ import annotations

import sys
import zlib
from dataclasses import dataclass

from ims_gateway.policy.grant import Grant
from ims_gateway.quota.prices import NO_PRICES
from ims_gateway.tenancy.files import TenantFile
from ims_gateway.tenancy.index import Entries
from ims_gateway.tenancy.limits_file import BudgetFile, limit_of
from ims_gateway.tenancy.platform import (
    Platform,
    credentials,
    digest,
    grants_of,
    guests_of,
    unknown_issuers,
)
from ims_gateway.tenancy.reading import ConfigurationError, Fault, fault_at, parse
from ims_gateway.tenancy.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Filed:
    """The text of a good file, packed, and what is asked of it without opening it.

    `guests` are the principals of other tenants that its grants name.
    """

    name: str
    packed: bytes
    account: str
    guests: tuple[str, ...]

    @property
    def text(self) -> str:
        """The file's text."""
        return zlib.decompress(self.packed).decode()

    @property
    def entries(self) -> Entries:
        """All by which the tenant's principals are found."""
        return entries_in(self._file)

    def version(self, platform: Platform) -> str:
        """Return what changes whenever the tenant does, or the platform's rules."""
        return f"{digest(self.text)}{platform.version}"

    def opened(self, platform: Platform) -> Tenant:
        """Return the tenant, under the platform's present rules."""
        return tenant_of(self._file, self.version(platform), platform)

    @property
    def _file(self) -> TenantFile:
        return parse(self.text, f"{self.name}.yaml", TenantFile)


def filed(tenant: str, text: str, platform: Platform) -> tuple[Filed, Entries]:
    """Check the file that should be the tenant's by itself and against the platform's.

    Raises ConfigurationError with every fault.
    """
    name = f"{tenant}.yaml"
    file = parse(text, name, TenantFile)
    found = entries_in(file)
    faults = [*_faults(tenant, text, file, platform)]
    if found.tokens:
        faults += unknown_issuers(name, found, platform.issuers)
    if faults:
        raise ConfigurationError(faults)
    packed = zlib.compress(text.encode(), 1)
    # Ten thousand tenants have one account, and keep its name once.
    account = sys.intern(file.account)
    return Filed(file.name, packed, account, guests_of(file.grants)), found


def entries_in(file: TenantFile) -> Entries:
    """Return what an index has of a file; the same as of the tenant's credentials, but sooner."""
    found = file.principals
    return Entries(
        tuple(bytes.fromhex(key.hash) for principal in found for key in principal.keys),
        tuple(spiffe_id for principal in found for spiffe_id in principal.spiffe_ids),
        tuple(
            (token.issuer, tuple(sorted(token.claims.items())))
            for principal in found
            for token in principal.tokens
        ),
    )


def tenant_of(file: TenantFile, version: str, platform: Platform) -> Tenant:
    """Return what a file says, with the platform's rules added."""
    grants = grants_of(f"{file.name}.yaml#grants", file.grants)
    return Tenant(
        name=file.name,
        version=version,
        account=file.account,
        region=platform.accounts[file.account].region,
        default_output=file.default_output or "",
        credentials=credentials(file.name, file.principals),
        roles=_roles(file, platform),
        grants=(*grants, *platform.grants(file.name)),
        limits=tuple(
            limit_of(limit, file.time_zone, f"{file.name}.yaml#limits[{number}]")
            for number, limit in enumerate(file.limits)
        ),
        time_zone=file.time_zone,
        weight=file.weight,
        shadow_grants=_shadow_grants(file, grants, platform),
    )


def _faults(tenant: str, text: str, file: TenantFile, platform: Platform) -> list[Fault]:
    faults, name = [], f"{tenant}.yaml"
    if file.name != tenant:
        faults.append(fault_at(text, name, ["name"], f"must be {tenant}, as the file's"))
    # Without accounts, their file is at fault, and says so itself.
    if platform.accounts and file.account not in platform.accounts:
        faults.append(fault_at(text, name, ["account"], "not in accounts.yaml"))
    for number, limit in enumerate(file.limits):
        if isinstance(limit, BudgetFile) and platform.prices is NO_PRICES:
            where: list[str | int] = ["limits", number]
            faults.append(fault_at(text, name, where, "a budget needs prices.yaml"))
    return faults


def _roles(file: TenantFile, platform: Platform) -> dict[str, tuple[str, ...]]:
    """Return what each principal and role has: its own roles and those that they include.

    A role that the platform defines keeps what it includes there: with a role, a deny would go.
    """
    shared = platform.shared.roles
    roles = {
        f"role/{role}": shared.get(role, ()) + file.roles.get(role, ())
        for role in shared | file.roles
    }
    roles |= {f"principal/{found.name}": found.roles for found in file.principals}
    return {
        subject: tuple(f"role/{name}" for name in names)
        for subject, names in roles.items()
        if names
    }


def _shadow_grants(
    file: TenantFile, grants: tuple[Grant, ...], platform: Platform
) -> tuple[Grant, ...] | None:
    if file.shadow_grants is None and platform.shared.shadow_grants is None:
        return None
    if file.shadow_grants is not None:
        grants = grants_of(f"{file.name}.yaml#shadow_grants", file.shadow_grants)
    return (*grants, *platform.shadow_grants(file.name))
