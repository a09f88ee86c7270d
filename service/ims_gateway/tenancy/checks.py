"""What else a tenant must be before it is taken, beside being well formed.

Says what a check looks like. Who builds the gateway says which ones there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from ims_gateway.tenancy.reading import Fault
from ims_gateway.tenancy.tenant import Tenant


class Checks(Protocol):
    """Checks that stand in files of their own, below policy_tests/."""

    @property
    def tenants(self) -> Mapping[str, frozenset[str]]:
        """The files of each tenant that has checks, as paths within the folder."""

    @property
    def faults(self) -> Mapping[str, tuple[Fault, ...]]:
        """What is wrong with the files themselves, by path."""

    def check(self, tenant: Tenant) -> tuple[Fault, ...]:
        """Return each check that the tenant does not pass, with the file that it stands in."""


class NoChecks:
    """Nothing is checked."""

    tenants: Mapping[str, frozenset[str]] = {}
    faults: Mapping[str, tuple[Fault, ...]] = {}

    def check(self, tenant: Tenant) -> tuple[Fault, ...]:  # noqa: ARG002 - a Checks like others
        """Find nothing."""
        return ()


NO_CHECKS: Final = NoChecks()
# Reads the checks of a configuration folder.
ChecksOf: TypeAlias = Callable[[Path], Checks]


def no_checks(folder: Path) -> Checks:  # noqa: ARG001 - a ChecksOf like others
    """Read nothing."""
    return NO_CHECKS
