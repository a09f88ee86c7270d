"""Brings the configuration folder into memory, whole at a start and then change by change.

Decides which of the files that changed are taken. A bad file never replaces a good one: its tenant,
or for a file of the platform all of it, stays as it was. What it never does: wait, or report.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ims_gateway.tenancy import platform as platforms
from ims_gateway.tenancy.directory import Directory
from ims_gateway.tenancy.filed import Filed, filed
from ims_gateway.tenancy.index import PLATFORM, Index
from ims_gateway.tenancy.platform import Platform
from ims_gateway.tenancy.reading import ConfigurationError, Fault, text_of
from ims_gateway.tenancy.tenant import Credentials

# A file that was written to a moment ago may be half of itself, and half a file may be well formed
# and lack the denies at its end.
SETTLING_NANOSECONDS: Final = 200_000_000
TENANTS: Final = "tenants"

# What the file system says of a file: time of its last change, size, inode.
Stamp = tuple[int, int, int]
Stamps = Mapping[str, Stamp]


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
    stamps = look(folder)
    platform, faults = platforms.read_all(folder)
    read = _Reading(folder, platform, Directory(platform, {}, _index_of(platform)))
    read.take({name: stamp for name, stamp in stamps.items() if name.startswith(f"{TENANTS}/")})
    if faults or not read.filed:
        faults += (fault for found in read.faults.values() for fault in found)
        raise ConfigurationError(faults or [Fault(TENANTS, 0, "no tenant")])
    return Loaded(read.directory(), stamps, read.faults)


def refresh(folder: Path, before: Loaded, now_nanoseconds: int | None = None) -> Loaded:
    """Read what has changed in the folder; returns `before` itself where nothing has.

    Takes the time of the file system's clock, by default the present.
    """
    now = time.time_ns() if now_nanoseconds is None else now_nanoseconds
    seen = look(folder)
    changed = {
        name for name in seen | before.stamps.keys() if seen.get(name) != before.stamps.get(name)
    }
    unsettled = frozenset(name for name in changed if _is_unsettled(seen.get(name), now))
    changed -= unsettled
    if not changed:
        return before if unsettled == before.unsettled else _put_off(before, unsettled)
    stamps = {
        name: stamp
        for name in seen | before.stamps.keys()
        if (stamp := (before.stamps if name in unsettled else seen).get(name)) is not None
    }
    faults = {name: found for name, found in before.faults.items() if name not in changed}
    platform, found = _platform(folder, before.directory.platform, changed)
    faults |= found
    read = _Reading(folder, platform, before.directory)
    if platform is not before.directory.platform:
        # What was wrong with a tenant's file may be mended by the platform's.
        changed |= {name for name in before.faults if name in stamps}
    read.take({name: stamps.get(name) for name in changed if name.startswith(f"{TENANTS}/")})
    if not read.filed:
        # An empty folder is a mount that is away sooner than a wish to serve nobody.
        return Loaded(before.directory, stamps, {TENANTS: (Fault(TENANTS, 0, "no tenant"),)})
    return Loaded(read.directory(), stamps, {**faults, **read.faults}, unsettled)


def look(folder: Path) -> dict[str, Stamp]:
    """Return what the file system says of each file of the configuration, by its path."""
    stamps = {}
    for name in platforms.NAMES:
        try:
            stamps[name] = _stamp((folder / name).stat())
        except OSError:
            continue
    try:
        with os.scandir(folder / TENANTS) as entries:
            for entry in entries:
                if entry.name.endswith(".yaml") and not entry.name.startswith("."):
                    stamps[f"{TENANTS}/{entry.name}"] = _entry_stamp(entry)
    except OSError:
        pass
    return stamps


class _Reading:
    """Tenants' files on their way into a directory."""

    def __init__(self, folder: Path, platform: Platform, before: Directory) -> None:
        self._folder = folder
        self._platform = platform
        self._before = before
        self._index = before.index.copy()
        if platform is not before.platform:
            self._index.remove(PLATFORM, before.platform.operators)
            self._index.add(PLATFORM, platform.operators)
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

    def take(self, changed: Mapping[str, Stamp | None]) -> None:
        """Take the files that are good, and leave the tenants of bad ones as they were."""
        good: list[tuple[str, Filed, Credentials]] = []
        for path, stamp in sorted(changed.items()):
            name = path.removeprefix(f"{TENANTS}/").removesuffix(".yaml")
            if stamp is None:
                self._forget(name)
                continue
            try:
                file = self._folder / path
                good.append((path, *filed(file, text_of(file), self._platform)))
            except ConfigurationError as error:
                self.faults[path] = error.faults
        for _, tenant, _ in good:
            self._forget(tenant.name)
        for path, tenant, credentials in good:
            self._put(path, tenant, credentials)

    def _put(self, path: str, tenant: Filed, credentials: Credentials) -> None:
        if owners := self._index.owners(credentials):
            self.faults[path] = tuple(_held(f"{tenant.name}.yaml", owners))
            self._put_back(tenant.name)
            return
        self._index.add(tenant.name, credentials)
        self.filed[tenant.name] = tenant

    def _put_back(self, name: str) -> None:
        """Let the tenant stay as it was, but for credentials that are somebody else's by now."""
        before = self._before.filed.get(name)
        if before is not None and not self._index.owners(before.credentials):
            self._index.add(name, before.credentials)
            self.filed[name] = before

    def _forget(self, name: str) -> None:
        tenant = self.filed.pop(name, None)
        if tenant is not None:
            self._index.remove(name, tenant.credentials)


def _held(file: str, owners: list[str]) -> Iterator[Fault]:
    for owner in owners:
        other = f"{owner}.yaml" if owner else "operators.yaml"
        yield Fault(file, 0, f"a key, SPIFFE id or token of it also stands in {other}")


def _platform(
    folder: Path, before: Platform, changed: set[str]
) -> tuple[Platform, dict[str, tuple[Fault, ...]]]:
    """Return the platform's files, or those of before and what is wrong with the new ones."""
    if changed.isdisjoint(platforms.NAMES):
        return before, {}
    platform, faults = platforms.read_all(folder)
    if faults:
        return before, {
            name: tuple(fault for fault in faults if fault.file == name)
            for name in {fault.file for fault in faults}
        }
    if platform.accounts != before.accounts:
        text = "changed; takes effect when the gateway is started anew"
        return before, {"accounts.yaml": (Fault("accounts.yaml", 0, text),)}
    return platform, {}


def _index_of(platform: Platform) -> Index:
    index = Index()
    index.add(PLATFORM, platform.operators)
    return index


def _is_unsettled(stamp: Stamp | None, now: int) -> bool:
    return stamp is not None and 0 <= now - stamp[0] < SETTLING_NANOSECONDS


def _put_off(before: Loaded, unsettled: frozenset[str]) -> Loaded:
    return Loaded(before.directory, before.stamps, before.faults, unsettled)


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_mtime_ns, found.st_size, found.st_ino


def _entry_stamp(entry: os.DirEntry[str]) -> Stamp:
    try:
        return _stamp(entry.stat())
    except OSError:
        # Told when it is read.
        return 0, 0, 0
