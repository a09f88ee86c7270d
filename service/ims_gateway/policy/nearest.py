"""Why a policy says no: which dimension failed, and which grants come closest.

Looks at grants as the matcher does, one dimension at a time. What it never does: decide; casbin has
decided before anybody asks here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ims_gateway.policy.decision import Ask, Dimension, NearGrant
from ims_gateway.policy.grant import Grant
from ims_gateway.policy.matching import ABSENT, SEPARATOR, fits, touches

# An answer names few grants, so that it stays small however long the file is.
SHOWN: Final = 3
GUEST: Final = "tenants/"


def failed_dimension(
    ask: Ask, access: str, obj: str, grants: Sequence[Grant], subjects: frozenset[str]
) -> Dimension:
    """Return the dimension in which the grant that gets furthest does not fit."""
    furthest = Dimension.SUBJECT
    for grant in grants:
        if grant.effect != "deny":
            failed = next(_misfits(ask, access, obj, grant, subjects), None)
            if failed is None:
                return Dimension.DENY
            furthest = max(furthest, failed)
    return furthest


def nearest(
    ask: Ask, access: str, obj: str, grants: Sequence[Grant], subjects: frozenset[str]
) -> tuple[NearGrant, ...]:
    """Return the grants that come closest, best first: the caller's own, by how little misfits.

    A caller from another tenant is shown no grant but its own.
    """
    denied = any(
        grant.effect == "deny" and not any(_misfits(ask, access, obj, grant, subjects))
        for grant in grants
    )
    stopped = (Dimension.DENY,) if denied else ()
    found = [
        NearGrant(grant.rule, (*_misfits(ask, access, obj, grant, subjects), *stopped))
        for grant in grants
        if grant.effect != "deny"
        and (grant.subject in subjects or not ask.subject.startswith(GUEST))
    ]
    found.sort(key=lambda near: (Dimension.SUBJECT in near.failed, len(near.failed)))
    return tuple(found[:SHOWN])


def _misfits(
    ask: Ask, access: str, obj: str, grant: Grant, subjects: frozenset[str]
) -> Iterator[Dimension]:
    """Yield the dimensions in which a grant is not about the question, in their order."""
    if grant.subject not in subjects:
        yield Dimension.SUBJECT
    if not _among(ask.action, grant.actions):
        yield Dimension.ACTION
    if not _among(ask.algorithm, grant.algorithms):
        yield Dimension.ALGORITHM
    if not touches(access, obj, joined(grant.read), joined(grant.write), grant.effect):
        yield Dimension.WRITE if access == "write" else Dimension.READ
    if not _within_ceilings(ask, grant):
        yield Dimension.CEILING


def _within_ceilings(ask: Ask, grant: Grant) -> bool:
    low, high = grant.priority or (0, 0)
    return (
        (grant.priority is None or ask.priority is None or low <= ask.priority <= high)
        and _among(ask.model or ABSENT, grant.models)
        and _among(ask.pipeline or ABSENT, grant.pipelines)
        and _among(ask.template or ABSENT, grant.templates)
    )


def _among(value: str, patterns: tuple[str, ...]) -> bool:
    return fits(value, joined(patterns))


def joined(patterns: tuple[str, ...]) -> str:
    """Return patterns as one text; nothing covered is a pattern that nothing matches."""
    return SEPARATOR.join(patterns) or ABSENT
