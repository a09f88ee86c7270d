"""What a caller may submit, algorithm by algorithm, before there is a job to ask about.

Decides whether some job of an algorithm may be allowed. Whether a certain one is, `explain` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ims_gateway.algorithms.table import TABLE
from ims_gateway.policy.grant import Grant
from ims_gateway.policy.matching import fits
from ims_gateway.policy.nearest import joined


@dataclass(frozen=True, slots=True)
class Permission:
    """One algorithm, the service's name of it, and the caller's grants about submitting it."""

    algorithm: str
    function_name: str
    allowed: bool
    grants: tuple[Grant, ...]


def permissions(grants: Sequence[Grant]) -> tuple[Permission, ...]:
    """Return a permission for each algorithm, by the grants of one caller."""
    return tuple(
        _permission(row.field, row.function_name, [g for g in grants if _about(g, row.field)])
        for row in TABLE
    )


def _permission(algorithm: str, function_name: str, grants: Sequence[Grant]) -> Permission:
    allowed = any(grant.effect == "allow" for grant in grants)
    return Permission(
        algorithm,
        function_name,
        allowed and not any(map(_denies_every_job, grants)),
        tuple(grants),
    )


def _about(grant: Grant, algorithm: str) -> bool:
    return fits("submit", joined(grant.actions)) and fits(algorithm, joined(grant.algorithms))


def _denies_every_job(grant: Grant) -> bool:
    """Say whether no job gets past: every one reads something, and writes something."""
    return (
        grant.effect == "deny"
        and ("*" in grant.read or "*" in grant.write)
        and grant.priority is None
        and all("*" in each for each in (grant.models, grant.pipelines, grant.templates))
    )
