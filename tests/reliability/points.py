"""The points at which a gateway is killed: every durable step of a submit, and of what follows it.

A step of the ledger is one transaction, with three instants in it: before it begins, when its rows
are written and not yet committed, and when they are committed and nobody has been told. The points
`on the wire` and `at any instant` are hit from outside of the process, all others from within it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Step(StrEnum):
    """The transactions that a job meets, by what the ledger does in them."""

    ADMIT = "admit"
    DISPATCH = "dispatch"
    SETTLE = "settle"
    CLAIM = "claim"
    ADVANCE = "advance"
    LAPSE = "close lapsed"


class Moment(StrEnum):
    """The instants of a step."""

    BEFORE = "before"
    WRITTEN = "before the commit"
    COMMITTED = "after the commit"


class Point(StrEnum):
    """One kind of death."""

    ADMIT_BEFORE = "admit, before"
    ADMIT_WRITTEN = "admit, before the commit"
    ADMIT_COMMITTED = "admit, after the commit"
    DISPATCH_BEFORE = "dispatch, before"
    DISPATCH_WRITTEN = "dispatch, before the commit"
    DISPATCH_COMMITTED = "dispatch, after the commit"
    SEND_BEFORE = "send, before"
    SEND_UNREAD = "send, on the wire, not accepted"
    SEND_ACCEPTED = "send, on the wire, accepted"
    SEND_ANSWERED = "send, answered"
    SETTLE_BEFORE = "settle, before"
    SETTLE_WRITTEN = "settle, before the commit"
    SETTLE_COMMITTED = "settle, after the commit"
    CLAIM_BEFORE = "claim, before"
    CLAIM_WRITTEN = "claim, before the commit"
    CLAIM_COMMITTED = "claim, after the commit"
    QUERY_ANSWERED = "query, answered"
    ADVANCE_BEFORE = "advance, before"
    ADVANCE_WRITTEN = "advance, before the commit"
    ADVANCE_COMMITTED = "advance, after the commit"
    LAPSE_WRITTEN = "close lapsed, before the commit"
    LAPSE_COMMITTED = "close lapsed, after the commit"
    ANY_INSTANT = "at any instant"


ON_THE_WIRE: Final = (Point.SEND_UNREAD, Point.SEND_ACCEPTED)
FROM_OUTSIDE: Final = (*ON_THE_WIRE, Point.ANY_INSTANT)
# Passed only where a job finds the account's places taken.
OF_A_CROWD: Final = (Point.DISPATCH_BEFORE, Point.DISPATCH_WRITTEN, Point.DISPATCH_COMMITTED)
OF_LAPSES: Final = (Point.LAPSE_WRITTEN, Point.LAPSE_COMMITTED)
_VALUES: Final = frozenset(Point)


def point_of(step: Step, moment: Moment) -> Point | None:
    """Return the point of a step's instant; None where nobody is killed there."""
    value = f"{step}, {moment}"
    return Point(value) if value in _VALUES else None


@dataclass(frozen=True, slots=True)
class Doom:
    """How one gateway dies: at the `passage`-th time that it passes the point.

    `put_off` counts the gateways that were to die there and did not come to it in time.
    """

    point: Point
    passage: int = 1
    put_off: int = 0
