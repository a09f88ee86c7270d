"""Brings the configuration folder into memory, whole at a start and then change by change.

Decides which of the files that changed are taken. A bad file never replaces a good one: its tenant,
or for a file of the platform all of it, stays as it was. What it never does: wait, or report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ims_gateway.quota.prices import NO_PRICES
from ims_gateway.tenancy import platform as platforms
from ims_gateway.tenancy.directory import Directory
from ims_gateway.tenancy.filed import Filed, filed
from ims_gateway.tenancy.index import PLATFORM, Entries, Index, entries_of
from ims_gateway.tenancy.looking import TENANTS, Stamps, look, tenants
from ims_gateway.tenancy.platform import Platform
from ims_gateway.tenancy.reading import ConfigurationError, Fault, text_of

NO_TENANT: Final = Fault("tenants", 0, "no tenant")
UNREAD: Final = -1


@dataclass(frozen=True, slots=True)
class Loaded:
    """A directory and the files that it was made of.

    `faults` are those of files that were not taken, by file. `unsettled` files have changed too
    lately to be looked at.
    """

    directory: Directory
    stamps: Stamps
    faults: Mapping[str, tuple[Fault, ...]]
    unsettled: frozenset[str] = frozenset()


def load(folder: Path) -> Loaded:
    """Read the folder for the first time; a bad tenant's file leaves out its tenant only.

    Raises ConfigurationError with all faults, for a bad file of the platform and where no tenant
    is good.
    """
    seen = look(folder, 0)
    platform, faults = platforms.read_all(folder)
    read = _Reading(folder, platform, Directory(platform, {}, _index_of(platform)))
    for path in tenants(seen.stamps):
        read.take([path])
    if faults or not read.filed:
        faults += (fault for found in read.faults.values() for fault in found)
        raise ConfigurationError(faults or [NO_TENANT])
    return Loaded(read.directory(), seen.stamps, read.faults)


def refresh(folder: Path, before: Loaded, now_nanoseconds: int) -> Loaded:
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
    faults = {
        path: found
        for path, found in before.faults.items()
        if path not in changed and found != (NO_TENANT,)
    }
    platform, found = _platform(folder, before.directory, changed)
    read = _Reading(folder, platform, before.directory)
    if platform is not before.directory.platform:
        # What was wrong with a tenant's file may be mended by the platform's.
        changed |= before.faults.keys() & stamps.keys()
    read.take(tenants(changed))
    if not read.filed:
        # An empty folder is a mount that is away sooner than a wish to serve nobody.
        faults = {**faults, **found, TENANTS: (NO_TENANT,)}
        return Loaded(before.directory, stamps, faults, unsettled)
    return Loaded(read.directory(), stamps, {**faults, **found, **read.faults}, unsettled)


class _Reading:
    """Tenants' files on their way into a directory."""

    def __init__(self, folder: Path, platform: Platform, before: Directory) -> None:
        self._folder = folder
        self._platform = platform
        self._before = before
        self._index = before.index.copy()
        if platform is not before.platform:
            self._index.remove(PLATFORM, entries_of(before.platform.operators))
            self._index.add(PLATFORM, entries_of(platform.operators))
        self.filed: dict[str, Filed] = dict(before.filed)
        self.faults: dict[str, tuple[Fault, ...]] = {}

    def directory(self) -> Directory:
        """Return the directory; tenants that did not change stay open."""
        still = (
            tenant
            for tenant in self._before.open_tenants()
            if self._platform is self._before.platform
            and self.filed.get(tenant.name) is self._before.filed.get(tenant.name)
        )
        return Directory(self._platform, self.filed, self._index, still)

    def take(self, paths: Sequence[str]) -> None:
        """Take the files that are good, all at once, and leave the tenants of bad ones."""
        good: list[tuple[str, Filed, Entries]] = []
        for path in paths:
            name = path.removeprefix(TENANTS).removesuffix(".yaml")
            file = self._folder / path
            try:
                text = text_of(file)
                if not self._is_as_before(name, text):
                    good.append((path, *filed(file, text, self._platform)))
            except ConfigurationError as error:
                if file.exists():
                    self.faults[path] = error.faults
                else:
                    self._forget(name)
        for _, tenant, _ in good:
            self._forget(tenant.name)
        for path, tenant, entries in good:
            self._put(path, tenant, entries)

    def _is_as_before(self, name: str, text: str) -> bool:
        """Say whether only the file's stamp is new: of a checkout that is swapped, most are."""
        before = self._before.filed.get(name)
        same = self._platform is self._before.platform and before is not None
        return same and before is not None and before.text == text

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
