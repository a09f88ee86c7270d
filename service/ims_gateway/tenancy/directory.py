"""All tenants and operators that are in force, found by name or by the hash of a key.

A directory is built whole from the files and never changes afterwards.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ims_gateway.identity.principal import Principal
from ims_gateway.policy.enforcer import PolicyError, TenantPolicy
from ims_gateway.policy.grant import Grant
from ims_gateway.quota.limits import CountLimit, Limit, RateLimit
from ims_gateway.tenancy.files import (
    AccountFile,
    AccountsFile,
    ConfigurationError,
    CountFile,
    GrantFile,
    GrantsFile,
    KeyFile,
    OperatorsFile,
    RateFile,
    TenantFile,
    fault_at,
    read,
)
from ims_gateway.tenancy.tenant import KeyEntry, Tenant


class Directory:
    """Tenants, their policies, the upstream accounts, and the keys of operators."""

    def __init__(
        self,
        tenants: dict[str, Tenant],
        accounts: dict[str, AccountFile],
        operators: tuple[KeyEntry, ...] = (),
    ) -> None:
        self._tenants = tenants
        keys = (key for tenant in tenants.values() for key in tenant.keys)
        self._keys = {key.hash: key for key in (*keys, *operators)}
        self._policies: dict[str, TenantPolicy] = {}
        self.accounts = accounts

    def __len__(self) -> int:
        return len(self._tenants)

    def tenant(self, name: str) -> Tenant | None:
        """Return the tenant of that name."""
        return self._tenants.get(name)

    def key(self, key_hash: str) -> KeyEntry | None:
        """Return the entry of the API key with that hash."""
        return self._keys.get(key_hash)

    def policy(self, tenant: Tenant) -> TenantPolicy:
        """Return the tenant's policy, built at its first use so that idle tenants cost little."""
        policy = self._policies.get(tenant.name)
        if policy is None:
            policy = self._policies[tenant.name] = build_policy(tenant)
        return policy


def build_policy(tenant: Tenant) -> TenantPolicy:
    """Build the enforcer of one tenant.

    Raises PolicyError for grants that casbin cannot evaluate.
    """
    roles = {
        key.principal.name: tuple(f"role/{role}" for role in key.principal.roles)
        for key in tenant.keys
    }
    return TenantPolicy(tenant.version, tenant.grants, roles)


def load(folder: Path) -> Directory:
    """Read the configuration folder.

    Raises ConfigurationError with the faults of all files.
    """
    faults: list[str] = []
    accounts = _accounts(folder / "accounts.yaml", faults)
    shared = _shared_grants(folder / "grants.yaml", faults)
    tenants: dict[str, Tenant] = {}
    for path in sorted((folder / "tenants").glob("*.yaml")):
        try:
            tenant = _tenant(path, accounts, shared)
            build_policy(tenant)
            tenants[tenant.name] = tenant
        except ConfigurationError as error:
            faults += error.faults
        except PolicyError as error:
            faults.append(f"{path.name}: {error}")
    operators = _operators(folder / "operators.yaml", faults)
    faults += _keys_held_twice(tenants, operators)
    if not tenants and not faults:
        faults.append(f"{folder.name}/tenants: no tenant")
    if faults:
        raise ConfigurationError(faults)
    return Directory(tenants, accounts, operators)


def _accounts(path: Path, faults: list[str]) -> dict[str, AccountFile]:
    try:
        return {account.name: account for account in read(path, AccountsFile).accounts}
    except ConfigurationError as error:
        faults += error.faults
        return {}


def _shared_grants(path: Path, faults: list[str]) -> tuple[tuple[Grant, ...], str]:
    """Return the platform's grants and the hash of their file."""
    if not path.exists():
        return (), ""
    try:
        return _grants(path, read(path, GrantsFile).grants), _digest(path)
    except ConfigurationError as error:
        faults += error.faults
        return (), ""


def _operators(path: Path, faults: list[str]) -> tuple[KeyEntry, ...]:
    """Return the keys of the operators, none where there is no file."""
    if not path.exists():
        return ()
    try:
        file = read(path, OperatorsFile)
    except ConfigurationError as error:
        faults += error.faults
        return ()
    return tuple(
        entry
        for operator in file.operators
        for entry in _keys(Principal(f"key/{operator.name}", "", operator=True), operator.keys)
    )


def _tenant(
    path: Path, accounts: dict[str, AccountFile], shared: tuple[tuple[Grant, ...], str]
) -> Tenant:
    file = read(path, TenantFile)
    faults = []
    if file.name != path.stem:
        faults.append(fault_at(path, "name", f"must be {path.stem}, as the file's"))
    if file.account not in accounts:
        faults.append(fault_at(path, "account", "not in accounts.yaml"))
    if faults:
        raise ConfigurationError(faults)
    grants, shared_version = shared
    return Tenant(
        name=file.name,
        version=f"{_digest(path)}{shared_version}",
        account=file.account,
        region=accounts[file.account].region,
        default_output=file.default_output or "",
        keys=tuple(
            entry
            for found in file.principals
            for entry in _keys(
                Principal(f"key/{found.name}", file.name, tuple(found.roles)), found.keys
            )
        ),
        grants=(*_grants(path, file.grants), *grants),
        limits=tuple(_limit(limit, file.time_zone) for limit in file.limits),
    )


def _keys(principal: Principal, keys: list[KeyFile]) -> list[KeyEntry]:
    return [
        KeyEntry(key.id, key.hash, principal, expires=key.expires, disabled=key.disabled)
        for key in keys
    ]


def _grants(path: Path, grants: list[GrantFile]) -> tuple[Grant, ...]:
    return tuple(
        Grant(
            rule=f"{path.name}#grants[{number}]",
            subject=grant.subject,
            actions=tuple(grant.actions),
            algorithms=tuple(grant.algorithms),
            read=tuple(grant.read),
            write=tuple(grant.write),
            priority=grant.ceilings.priority,
            models=tuple(grant.ceilings.models),
            pipelines=tuple(grant.ceilings.pipelines),
            templates=tuple(grant.ceilings.templates),
            effect=grant.effect,
        )
        for number, grant in enumerate(grants)
    )


def _limit(file: RateFile | CountFile, time_zone: str) -> Limit:
    if isinstance(file, RateFile):
        return RateLimit(file.id, per_second=file.per_second, burst=file.burst)
    return CountLimit(file.id, max=file.max, time_zone=time_zone)


def _keys_held_twice(tenants: dict[str, Tenant], operators: tuple[KeyEntry, ...]) -> list[str]:
    keys = [(f"{tenant.name}.yaml", key) for tenant in tenants.values() for key in tenant.keys]
    keys += [("operators.yaml", key) for key in operators]
    owners: dict[str, str] = {}
    faults = []
    for file, key in keys:
        if key.hash in owners:
            faults.append(f"{file}: key {key.key_id} also stands in {owners[key.hash]}")
        owners[key.hash] = file
    return faults


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
