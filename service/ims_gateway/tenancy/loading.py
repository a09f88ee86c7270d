"""Brings the configuration folder into memory, whole at a start and then change by change.

Decides which of the files that changed are taken. A bad file never replaces a good one: its tenant,
or for a file of the platform all of it, stays as it was. A file is bad, too, with which a check of
a tenant fails (`checks.py`). What it never does: wait, or report.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

from ims_gateway.quota.prices import NO_PRICES
from ims_gateway.tenancy import platform as platforms
from ims_gateway.tenancy.checks import NO_CHECKS, Checks, ChecksOf, no_checks
from ims_gateway.tenancy.directory import Directory
from ims_gateway.tenancy.examining import Examination, Examined, examine
from ims_gateway.tenancy.filed import Filed
from ims_gateway.tenancy.index import PLATFORM, Entries, Index, entries_of
from ims_gateway.tenancy.looking import CHECKS, TENANTS, Stamps, look, tenants
from ims_gateway.tenancy.platform import Platform
from ims_gateway.tenancy.reading import ConfigurationError, Fault

NO_TENANT: Final = Fault("tenants", 0, "no tenant")
UNREAD: Final = -1
GRANTS: Final = "grants.yaml"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A directory and the files that it was made of.

    `faults` are those of files that were not taken, by file. `unsettled` files have changed too
    lately to be looked at. `checks` are those that tenants have to pass.
    """

    directory: Directory
    stamps: Stamps
    faults: Mapping[str, tuple[Fault, ...]]
    unsettled: frozenset[str] = frozenset()
    checks: Checks = NO_CHECKS


class Beginning:
    """A start that has begun: the platform is read, and of very many tenants some are being read.

    Whatever else there is to do before `finish`, such as to import the gateway, is done meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stamps = look(folder, 0).stamps
        self.platform, self.faults = platforms.read_all(folder)
        self.examination = Examination(folder, tenants(self.stamps), self.platform)


def load(folder: Path, checks_of: ChecksOf = no_checks) -> Loaded:
    """Read the folder for the first time, at once. Raises ConfigurationError as `finish` does."""
    return finish(Beginning(folder), checks_of)


def finish(beginning: Beginning, checks_of: ChecksOf = no_checks) -> Loaded:
    """Read what is left to read at a start; a bad tenant's file leaves out its tenant only.

    Raises ConfigurationError with all faults, for a bad file of the platform and where no tenant
    is good.
    """
    platform, faults = beginning.platform, beginning.faults
    # Without the platform no tenant can be opened, to be checked.
    checks = NO_CHECKS if faults else checks_of(beginning.folder)
    read = _Reading(platform, Directory(platform, {}, _index_of(platform)), checks)
    with _without_collections():
        read.take(beginning.examination.finish())
    if faults or not read.filed:
        faults += (fault for found in read.faults.values() for fault in found)
        raise ConfigurationError(faults or [NO_TENANT])
    found = {**checks.faults, **read.faults}
    return Loaded(read.directory(), beginning.stamps, found, checks=checks)


def refresh(
    folder: Path, before: Loaded, now_nanoseconds: int, checks_of: ChecksOf = no_checks
) -> Loaded:
    """Read what has changed in the folder; returns `before` itself where nothing has.

    The time, in nanoseconds since the epoch, tells which files are still being written.
    """
    seen = look(folder, now_nanoseconds)
    changed = seen.changed(before.stamps)
    unsettled = seen.settling & changed
    changed -= unsettled
    if not changed:
        return before if unsettled == before.unsettled else replace(before, unsettled=unsettled)
    stamps = {**seen.stamps, **{path: before.stamps.get(path, UNREAD) for path in unsettled}}
    checks, anew = before.checks, any(path.startswith(CHECKS) for path in changed)
    if anew:
        # What was refused before may pass other checks.
        checks = checks_of(folder)
        changed |= before.faults.keys() & stamps.keys()
    if GRANTS in before.faults:
        # Which a tenant may have failed that is another one by now.
        changed.add(GRANTS)
    faults = {
        path: found
        for path, found in before.faults.items()
        if path not in changed and found != (NO_TENANT,)
    }
    platform, found = _platform(folder, before.directory, changed)
    read = _read(folder, before, changed, platform, checks)
    anew = anew or platform.version != before.directory.platform.version
    asked = checks.tenants.keys() & (checks.tenants.keys() if anew else read.looked_at)
    unfit = read.unfit(asked)
    if unfit and platform.version != before.directory.platform.version:
        found[GRANTS] = tuple(_failing(GRANTS, each) for each in chain(*unfit.values()))
        read = _read(folder, before, changed, _with_grants_of_before(platform, before), checks)
        unfit = read.unfit(asked)
    if not read.filed:
        # An empty folder is a mount that is away sooner than a wish to serve nobody.
        faults = {**faults, **found, TENANTS: (NO_TENANT,)}
        return Loaded(before.directory, stamps, faults, unsettled, checks)
    for path in chain(*(checks.tenants[name] for name in asked)):
        faults.pop(path, None)
    faults |= {**found, **read.faults, **checks.faults, **unfit}
    return Loaded(read.directory(), stamps, faults, unsettled, checks)


def _read(
    folder: Path, before: Loaded, changed: set[str], platform: Platform, checks: Checks
) -> _Reading:
    """Take the tenants' files that changed, under this platform and with these checks."""
    read = _Reading(platform, before.directory, checks)
    if platform is not before.directory.platform:
        # What was wrong with a tenant's file may be mended by the platform's.
        changed = changed | before.faults.keys()
    same_rules = platform is before.directory.platform
    known = before.directory.filed if same_rules else {}
    read.take(examine(folder, tenants(changed), platform, known))
    return read


def _with_grants_of_before(platform: Platform, before: Loaded) -> Platform:
    """Return the platform but for its grants: operators are let in or out all the same."""
    known = before.directory.platform
    kept = replace(platform, shared=known.shared, version=known.version)
    return known if kept == known else kept


class _Reading:
    """Tenants' files on their way into a directory."""

    def __init__(self, platform: Platform, before: Directory, checks: Checks) -> None:
        self._checks = checks
        self._platform = platform
        self._before = before
        self._index = before.index.copy()
        if platform is not before.platform:
            self._index.remove(PLATFORM, entries_of(before.platform.operators))
            self._index.add(PLATFORM, entries_of(platform.operators))
        self.filed: dict[str, Filed] = dict(before.filed)
        self.faults: dict[str, tuple[Fault, ...]] = {}
        self.looked_at: set[str] = set()

    def directory(self) -> Directory:
        """Return the directory; tenants that did not change stay open."""
        still = (
            tenant
            for tenant in self._before.open_tenants()
            if self._platform is self._before.platform
            and self.filed.get(tenant.name) is self._before.filed.get(tenant.name)
        )
        return Directory(self._platform, self.filed, self._index, still)

    def take(self, found: Iterable[Examined]) -> None:
        """Take the files that are good, all at once, and leave the tenants of bad ones."""
        good: list[tuple[str, Filed, Entries]] = []
        for file in found:
            self.looked_at.add(file.tenant)
            faults = file.faults
            if file.good and file.tenant in self._checks.tenants:
                faults = (*faults, *self._failed(file.good[0]))
            if faults:
                self.faults[file.path] = faults
            elif file.good:
                good.append((file.path, *file.good))
            elif not file.same:
                self._forget(file.tenant)
        for _, tenant, _ in good:
            self._forget(tenant.name)
        for path, tenant, entries in good:
            self._put(path, tenant, entries)

    def unfit(self, names: Iterable[str]) -> dict[str, tuple[Fault, ...]]:
        """Return the checks, by file, that these tenants as they are now do not pass."""
        faults: dict[str, tuple[Fault, ...]] = {}
        for name in names:
            tenant = self.filed.get(name)
            for fault in self._checks.check(tenant.opened(self._platform)) if tenant else ():
                faults[fault.file] = (*faults.get(fault.file, ()), fault)
        return faults

    def _failed(self, tenant: Filed) -> Iterator[Fault]:
        """Yield a fault for each of its checks that a tenant does not pass."""
        for fault in self._checks.check(tenant.opened(self._platform)):
            yield _failing(f"{tenant.name}.yaml", fault)

    def _put(self, path: str, tenant: Filed, entries: Entries) -> None:
        if owners := self._index.owners(entries):
            self.faults[path] = tuple(_held(f"{tenant.name}.yaml", owners))
            self._put_back(tenant.name)
            return
        self._index.add(tenant.name, entries)
        self.filed[tenant.name] = tenant

    def _put_back(self, name: str) -> None:
        """Let the tenant stay as it was, but for credentials that are somebody else's by now."""
        before = self._before.filed.get(name)
        if before is not None and not self._index.owners(before.entries):
            self._index.add(name, before.entries)
            self.filed[name] = before

    def _forget(self, name: str) -> None:
        tenant = self.filed.pop(name, None)
        if tenant is not None:
            self._index.remove(name, tenant.entries)


def _failing(file: str, fault: Fault) -> Fault:
    return Fault(file, 0, f"fails {fault}")


def _held(file: str, owners: list[str]) -> Iterator[Fault]:
    for owner in owners:
        other = f"{owner}.yaml" if owner else "operators.yaml"
        yield Fault(file, 0, f"a key, SPIFFE id or token of it also stands in {other}")


def _platform(
    folder: Path, before: Directory, changed: set[str]
) -> tuple[Platform, dict[str, tuple[Fault, ...]]]:
    """Return the platform's files as they are now; where one of them is bad, all of before.

    Accounts stay as they are, with a fault that says so: they have connections and calls in flight.
    """
    if changed.isdisjoint(platforms.NAMES):
        return before.platform, {}
    platform, faults = platforms.read_all(folder)
    faults += _held("operators.yaml", _tenants_that_hold(platform, before))
    if faults:
        return before.platform, _by_file(faults)
    if platform.prices is NO_PRICES and before.prices is not NO_PRICES:
        # Every budget would cover jobs that cost nothing.
        return before.platform, _by_file([Fault("prices.yaml", 0, "is gone; the prices stay")])
    if platform.accounts == before.accounts:
        return platform, {}
    fault = Fault("accounts.yaml", 0, "changed; takes effect when the gateway is started anew")
    return replace(platform, accounts=before.accounts), _by_file([fault])


def _tenants_that_hold(platform: Platform, before: Directory) -> list[str]:
    owners = before.index.owners(entries_of(platform.operators))
    return [owner for owner in owners if owner != PLATFORM]


def _by_file(faults: list[Fault]) -> dict[str, tuple[Fault, ...]]:
    names = {fault.file for fault in faults}
    return {name: tuple(fault for fault in faults if fault.file == name) for name in names}


def _index_of(platform: Platform) -> Index:
    index = Index()
    index.add(PLATFORM, entries_of(platform.operators))
    return index


@contextmanager
def _without_collections() -> Iterator[None]:
    """Let no cycles be looked for meanwhile: of thousands of tenants that stay, none is one."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
