"""Looks at the configuration folder: which files there are, and which of them were just written.

Reads no file. Links are followed, so that a ConfigMap's swap of its data is seen as what it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ims_gateway.tenancy.platform import NAMES, place_of

TENANTS: Final = "tenants/"
CHECKS: Final = "policy_tests/"
# A file that was written to a moment ago may be half of itself, and half a file may be well formed
# and lack the denies at its end.
SETTLING_NANOSECONDS: Final = 200_000_000

# By path. What tells a file from what it was: a hash of its size, inode and time of last change.
Stamps = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """The files of a folder, and those of them that are still settling."""

    stamps: Stamps
    settling: frozenset[str]

    def changed(self, before: Stamps) -> set[str]:
        """Return the files that came, changed or went."""
        paths = self.stamps.keys() | before.keys()
        return {path for path in paths if self.stamps.get(path) != before.get(path)}


def look(folder: Path, now_nanoseconds: int) -> Seen:
    """Return what the file system says of the folder at the moment."""
    stamps: dict[str, int] = {}
    settling = set()
    for path, found in (
        *_platform(folder),
        *_below(folder, TENANTS),
        *_below(folder, CHECKS),
    ):
        stamps[path] = hash((found.st_size, found.st_ino, found.st_mtime_ns))
        if 0 <= now_nanoseconds - found.st_mtime_ns < SETTLING_NANOSECONDS:
            settling.add(path)
    return Seen(stamps, frozenset(settling))


def tenants(paths: Iterator[str] | Mapping[str, int] | set[str]) -> list[str]:
    """Return those of the paths that are tenants' files, in order."""
    return sorted(path for path in paths if path.startswith(TENANTS))


def tenant_in(path: str) -> str:
    """Return the name of the tenant whose file it is."""
    return path.removeprefix(TENANTS).removesuffix(".yaml")


def _platform(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    place = place_of(folder)
    for name in NAMES:
        with suppress(OSError):
            yield name, (place / name).stat()


def _below(folder: Path, part: str) -> Iterator[tuple[str, os.stat_result]]:
    with suppress(OSError), os.scandir(folder / part) as entries:
        for entry in entries:
            if entry.name.endswith(".yaml") and not entry.name.startswith("."):
                with suppress(OSError):
                    yield f"{part}{entry.name}", entry.stat()
