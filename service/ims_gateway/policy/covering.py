"""Whether one grant covers all of another.

Says yes only where it is sure: two patterns that cover a third one together are not put together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ims_gateway.algorithms.table import TABLE
from ims_gateway.policy.grant import Grant
from ims_gateway.policy.matching import ABSENT, fits
from ims_gateway.policy.nearest import joined

ACTIONS: Final = frozenset({"submit", "get", "list", "watch", "cancel"})
ALGORITHMS: Final = frozenset(row.field for row in TABLE)
PRIORITIES: Final = (1, 10)


def covers(wide: Grant, narrow: Grant, roles: Mapping[str, tuple[str, ...]]) -> bool:
    """Say whether the wide grant is about everything that the narrow one is about.

    `roles` are those of each subject, included ones too. A deny is about a job as soon as it is
    about one of its objects.
    """
    return (
        (wide.subject == narrow.subject or wide.subject in roles.get(narrow.subject, ()))
        and actions_of(narrow) <= actions_of(wide)
        and algorithms_of(narrow) <= algorithms_of(wide)
        and ("submit" not in actions_of(narrow) or _covers_objects(wide, narrow))
        and _covers_ceilings(wide, narrow)
    )


def actions_of(grant: Grant) -> frozenset[str]:
    """Return the actions that a grant is about."""
    return ACTIONS if "*" in grant.actions else frozenset(grant.actions)


def algorithms_of(grant: Grant) -> frozenset[str]:
    """Return the algorithms that a grant is about; "-" among them is for calls about none."""
    patterns = joined(grant.algorithms)
    return frozenset(name for name in (*ALGORITHMS, ABSENT) if fits(name, patterns))


def within_patterns(narrow: tuple[str, ...], wide: tuple[str, ...]) -> bool:
    """Say whether each narrow pattern lies within a wide one.

    A star of the narrow one is matched as a character, which only a star of the wide one does.
    """
    return all(fits(pattern, joined(wide)) for pattern in narrow)


def _covers_objects(wide: Grant, narrow: Grant) -> bool:
    if wide.effect == "deny" and ("*" in wide.read or "*" in wide.write):
        return True
    return within_patterns(narrow.read, wide.read) and within_patterns(narrow.write, wide.write)


def _covers_ceilings(wide: Grant, narrow: Grant) -> bool:
    low, high = wide.priority or PRIORITIES
    narrow_low, narrow_high = narrow.priority or PRIORITIES
    return (
        low <= narrow_low
        and narrow_high <= high
        and within_patterns(narrow.models, wide.models)
        and within_patterns(narrow.pipelines, wide.pipelines)
        and within_patterns(narrow.templates, wide.templates)
    )
