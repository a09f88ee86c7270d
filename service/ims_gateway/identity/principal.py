"""A caller that was authenticated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: `key/<name>` of one tenant, with the roles that the tenant's file gives.

    An operator of the platform belongs to no tenant, and its `tenant` is empty.
    """

    name: str
    tenant: str
    roles: tuple[str, ...] = ()
    operator: bool = False
