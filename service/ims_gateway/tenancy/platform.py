"""What holds for every tenant: accounts, issuers, operators, prices, shared roles, grants."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ims_gateway.identity.principal import Principal
from ims_gateway.policy.grant import Grant
from ims_gateway.quota.prices import NO_PRICES, PriceList
from ims_gateway.tenancy.files import AccountFile, AccountsFile, IssuerFile, IssuersFile
from ims_gateway.tenancy.grant_file import GrantFile, GrantsFile
from ims_gateway.tenancy.index import Entries, entries_of
from ims_gateway.tenancy.limits_file import PricesFile
from ims_gateway.tenancy.principal_file import OperatorFile, OperatorsFile, PrincipalFile
from ims_gateway.tenancy.reading import ConfigurationError, Fault, FileModel, read
from ims_gateway.tenancy.tenant import Credentials, KeyEntry, TokenEntry

NAMES: Final = (
    "accounts.yaml",
    "issuers.yaml",
    "operators.yaml",
    "grants.yaml",
    "prices.yaml",
)
# A ConfigMap is mounted as a folder, and there is no place in it for the folder of another one.
FOLDER: Final = "platform"
TENANT: Final = "{tenant}"


@dataclass(frozen=True, slots=True)
class Platform:
    """The platform's files. `version` is a hash of those that enter a tenant's policy."""

    accounts: Mapping[str, AccountFile] = field(default_factory=dict)
    issuers: Mapping[str, IssuerFile] = field(default_factory=dict)
    operators: Credentials = field(default_factory=Credentials)
    shared: GrantsFile = field(default_factory=GrantsFile)
    version: str = ""
    prices: PriceList = NO_PRICES

    def admits(self, subject: str) -> bool:
        """Say whether a grant that every tenant has names the principal of another tenant."""
        return subject in guests_of(self.shared.grants)

    def grants(self, tenant: str) -> tuple[Grant, ...]:
        """Return the platform's grants as they hold for the tenant."""
        return grants_of("grants.yaml#grants", self.shared.grants, tenant)

    def shadow_grants(self, tenant: str) -> tuple[Grant, ...]:
        """Return the platform's grants on trial; those in force where none are."""
        if self.shared.shadow_grants is None:
            return self.grants(tenant)
        return grants_of("grants.yaml#shadow_grants", self.shared.shadow_grants, tenant)


def place_of(folder: Path) -> Path:
    """Return where the platform's files are: in platform/, if there is that, or beside tenants/."""
    apart = folder / FOLDER
    return apart if apart.is_dir() else folder


def read_all(folder: Path) -> tuple[Platform, list[Fault]]:
    """Read the platform's files: as much of them as is good, and what is wrong with the rest."""
    place = place_of(folder)
    # One that is not looked at could be the one that denies something.
    faults = [
        Fault(name, 0, f"stands beside {FOLDER}/, where the platform's files are")
        for name in NAMES
        if place != folder and (folder / name).exists()
    ]
    folder = place
    accounts = _read(folder / "accounts.yaml", AccountsFile, faults)
    issuers = _read_optional(folder / "issuers.yaml", IssuersFile, faults)
    operators = _read_optional(folder / "operators.yaml", OperatorsFile, faults)
    shared = _read_optional(folder / "grants.yaml", GrantsFile, faults)
    prices = _read_optional(folder / "prices.yaml", PricesFile, faults)
    known = {issuer.name: issuer for issuer in issuers.issuers} if issuers else {}
    found = credentials("", operators.operators if operators else (), operator=True)
    faults += unknown_issuers("operators.yaml", entries_of(found), known)
    platform = Platform(
        {account.name: account for account in accounts.accounts} if accounts else {},
        known,
        found,
        shared or GrantsFile(),
        digest((folder / "grants.yaml").read_text(encoding="utf-8")) if shared else "",
        prices.price_list if prices else NO_PRICES,
    )
    return platform, faults


def credentials(
    tenant: str, found: Sequence[PrincipalFile | OperatorFile], *, operator: bool = False
) -> Credentials:
    """Return by what the principals of a file are recognized."""
    keys: list[KeyEntry] = []
    tokens: list[TokenEntry] = []
    spiffe_ids: dict[str, Principal] = {}
    for file in found:
        roles = file.roles if isinstance(file, PrincipalFile) else ()
        principal = Principal(f"principal/{file.name}", tenant, roles, operator)
        keys += (
            KeyEntry(key.id, key.hash, principal, expires=key.expires, disabled=key.disabled)
            for key in file.keys
        )
        tokens += (
            TokenEntry(token.issuer, tuple(sorted(token.claims.items())), principal)
            for token in file.tokens
        )
        spiffe_ids |= dict.fromkeys(file.spiffe_ids, principal)
    return Credentials(tuple(keys), tuple(tokens), spiffe_ids)


def grants_of(where: str, grants: Sequence[GrantFile], tenant: str = TENANT) -> tuple[Grant, ...]:
    """Return the grants of a file's list `where`, with the tenant's name put in."""
    return tuple(
        Grant(
            rule=f"{where}[{number}]",
            subject=grant.subject,
            actions=grant.actions,
            algorithms=grant.algorithms,
            read=tuple(pattern.replace(TENANT, tenant) for pattern in grant.read),
            write=tuple(pattern.replace(TENANT, tenant) for pattern in grant.write),
            priority=grant.ceilings.priority,
            models=grant.ceilings.models,
            pipelines=grant.ceilings.pipelines,
            templates=grant.ceilings.templates,
            effect=grant.effect,
        )
        for number, grant in enumerate(grants)
    )


def guests_of(grants: Sequence[GrantFile]) -> tuple[str, ...]:
    """Return the principals of other tenants that the grants name."""
    subjects = dict.fromkeys(grant.subject for grant in grants)
    return tuple(subject for subject in subjects if subject.startswith("tenants/"))


def digest(text: str) -> str:
    """Return what tells one text of a file from another."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def unknown_issuers(file: str, found: Entries, issuers: Mapping[str, IssuerFile]) -> list[Fault]:
    """Return a fault for each issuer that tokens are named of and that is not known."""
    unknown = sorted({issuer for issuer, _ in found.tokens} - issuers.keys())
    return [Fault(file, 0, f"issuer {name} is not in issuers.yaml") for name in unknown]


def _read(path: Path, model: type[FileModel], faults: list[Fault]) -> FileModel | None:
    try:
        return read(path, model)
    except ConfigurationError as error:
        faults += error.faults
        return None


def _read_optional(path: Path, model: type[FileModel], faults: list[Fault]) -> FileModel | None:
    return _read(path, model, faults) if path.exists() else None
