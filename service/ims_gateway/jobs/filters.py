"""The filter of a list: which jobs it asks for.

    state = FAILED AND algorithm = cover AND create_time >= "2026-01-01T00:00:00Z"

Decides what a filter means, as sets and bounds that no longer hold any of its syntax. Never touches
the ledger.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from ims_gateway.errors import InvalidRequest, Violation
from ims_gateway.jobs.comparisons import Comparison, FilterError, Token, comparisons
from ims_gateway.jobs.states import State
from imsgateway.v1 import job_pb2

STATES: Final = frozenset(State)
ALGORITHMS: Final = frozenset(
    field.name for field in job_pb2.Job.DESCRIPTOR.oneofs_by_name["algorithm"].fields
)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)

# The contract's own pattern of a label's key, and its longest value.
_KEY: Final = re.compile(r"[a-z0-9][a-z0-9_./-]{0,62}")
_LONGEST_VALUE: Final = 63
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_TIME: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-]\d\d):(\d\d))", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs are asked for.

    `states` and `algorithms` hold the ones that fit, or are None where all do. A job fits if it was
    made at or after `since` and before `before`, in microseconds since the epoch, and has all of
    the `labels`.
    """

    states: frozenset[State] | None = None
    algorithms: frozenset[str] | None = None
    since: int | None = None
    before: int | None = None
    labels: frozenset[tuple[str, str]] = frozenset()

    def digest(self) -> str:
        """Return what tells two filters apart: the same for all spellings of one."""
        members = (
            None if self.states is None else sorted(self.states),
            None if self.algorithms is None else sorted(self.algorithms),
            self.since,
            self.before,
            sorted(self.labels),
        )
        return hashlib.sha256(json.dumps(members).encode()).hexdigest()


def parse(text: str) -> Filter:
    """Return what the filter asks for; an empty one asks for all jobs.

    Raises InvalidRequest: with the first fault of the grammar, else with every comparison that
    makes no sense.
    """
    wanted = Filter()
    faults: list[FilterError] = []
    try:
        for comparison in comparisons(text):
            try:
                wanted = _narrowed(wanted, comparison)
            except FilterError as fault:
                faults.append(fault)
    except FilterError as fault:
        faults = [fault]
    if faults:
        raise InvalidRequest(tuple(Violation("filter", "filter", str(fault)) for fault in faults))
    return wanted


def storable(value: str) -> bool:
    """Say whether the ledger can keep a label's value: PostgreSQL has no NUL in a text."""
    return not _UNSTORABLE.search(value)


def _narrowed(wanted: Filter, comparison: Comparison) -> Filter:
    name = comparison.field.text
    if name.startswith("labels."):
        return _with_label(wanted, comparison)
    if name not in _FIELDS:
        known = ", ".join(_FIELDS)
        raise FilterError(comparison.field.at, f"unknown field: fields are {known} and labels.KEY")
    return _FIELDS[name](wanted, comparison)


def _with_state(wanted: Filter, comparison: Comparison) -> Filter:
    _only(comparison, "=", "!=")
    name = comparison.value.text.removeprefix("STATE_")
    if name not in State.__members__:
        known = ", ".join(State.__members__)
        raise FilterError(comparison.value.at, f"unknown state: states are {known}")
    equal = frozenset({State[name]})
    fitting = equal if comparison.operator.text == "=" else STATES - equal
    return replace(wanted, states=fitting & (STATES if wanted.states is None else wanted.states))


def _with_algorithm(wanted: Filter, comparison: Comparison) -> Filter:
    _only(comparison, "=", "!=")
    equal = frozenset({comparison.value.text})
    if not equal <= ALGORITHMS:
        problem = "unknown algorithm: expected the name of its field in Job, such as cover"
        raise FilterError(comparison.value.at, problem)
    fitting = equal if comparison.operator.text == "=" else ALGORITHMS - equal
    left = ALGORITHMS if wanted.algorithms is None else wanted.algorithms
    return replace(wanted, algorithms=fitting & left)


def _with_time(wanted: Filter, comparison: Comparison) -> Filter:
    _only(comparison, "<", "<=", ">", ">=")
    floor, ceiling = _moment(comparison.value)
    operator = comparison.operator.text
    if operator in ("<", "<="):
        before = ceiling if operator == "<" else floor + 1
        return replace(
            wanted, before=min(before, before if wanted.before is None else wanted.before)
        )
    since = ceiling if operator == ">=" else floor + 1
    return replace(wanted, since=max(since, since if wanted.since is None else wanted.since))


def _with_label(wanted: Filter, comparison: Comparison) -> Filter:
    _only(comparison, "=")
    key, value = comparison.field.text.removeprefix("labels."), comparison.value.text
    if not _KEY.fullmatch(key):
        problem = "a label's key has 1 to 63 characters [a-z0-9_./-] and begins with [a-z0-9]"
        raise FilterError(comparison.field.at, problem)
    if len(value) > _LONGEST_VALUE or not storable(value):
        problem = f"a label's value has at most {_LONGEST_VALUE} characters, and no NUL"
        raise FilterError(comparison.value.at, problem)
    return replace(wanted, labels=wanted.labels | {(key, value)})


def _only(comparison: Comparison, *operators: str) -> None:
    if comparison.operator.text not in operators:
        raise FilterError(comparison.operator.at, f"expected one of {', '.join(operators)}")


def _moment(token: Token) -> tuple[int, int]:
    """Return the last microsecond at or before the time, and the first at or after it."""
    found = _TIME.fullmatch(token.text) if token.kind == "quoted" else None
    try:
        date, time, fraction, hours, minutes = found.groups() if found else ("",) * 5
        # fromisoformat reads more than RFC 3339; of that, the pattern has let nothing through.
        local = datetime.fromisoformat(f"{date}T{time}{hours or '+00'}:{minutes or '00'}")
    except ValueError:
        problem = 'expected an RFC 3339 time in quotes, such as "2026-01-01T00:00:00Z"'
        raise FilterError(token.at, problem) from None
    nanoseconds = int((fraction or "0").ljust(9, "0"))
    floor = (local - EPOCH) // MICROSECOND + nanoseconds // 1000
    return floor, floor + (nanoseconds % 1000 > 0)


_FIELDS: Final[dict[str, Callable[[Filter, Comparison], Filter]]] = {
    "state": _with_state,
    "algorithm": _with_algorithm,
    "create_time": _with_time,
}
