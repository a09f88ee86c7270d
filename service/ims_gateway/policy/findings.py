"""What a lint of policies can find, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """An error is never meant; a warning may be."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding: how bad it is, what it means, and what to do about it."""

    severity: Severity
    meaning: str
    mend: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `rule` is a grant's place in its file, `line` counts from 1, 0 is none known."""

    code: str
    file: str
    line: int
    rule: str
    what: str

    @property
    def kind(self) -> Kind:
        """What findings of this code mean."""
        return KINDS[self.code]


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
KINDS: Final = {
    "malformed": Kind(
        _ERROR,
        "The file cannot be read, or casbin cannot evaluate the row.",
        "Correct what is named; until then the gateway does not take the file.",
    ),
    "unreachable-subject": Kind(
        _ERROR,
        "Nobody is the grant's subject: no such principal, or a role that nobody has.",
        "Correct the name, give somebody the role, or remove the grant.",
    ),
    "unused-role": Kind(
        _WARNING,
        "A principal has a role that no grant names, neither it nor a role that it includes.",
        "Correct the role's name, or remove it from the principal.",
    ),
    "unreachable-algorithm": Kind(
        _ERROR,
        "A pattern fits none of the algorithms.",
        "Correct the name; `imsctl algorithms` lists them.",
    ),
    "unreachable-list": Kind(
        _ERROR,
        "`list` is asked about no algorithm, and none of the patterns fits that.",
        'Grant list with algorithms ["*"], in a grant of its own.',
    ),
    "unreachable-model": Kind(
        _ERROR,
        "A ceiling's pattern fits no model that a job of the grant's algorithms can name.",
        'Correct the model; "-" stands for a job that names none.',
    ),
    "unreachable-objects": Kind(
        _ERROR,
        "The grant allows submit but neither reading nor writing, and every job does both.",
        "Add read and write, or take submit out of its actions.",
    ),
    "overbroad-actions": Kind(
        _WARNING,
        "The grant allows every action, those of later versions included.",
        "List the actions that are needed.",
    ),
    "overbroad-objects": Kind(
        _WARNING,
        "The grant allows objects in buckets of any name: `*` also matches a `/`.",
        "Begin the pattern with the bucket's name: oss://bucket/*",
    ),
    "overbroad-guest": Kind(
        _ERROR,
        "The grant lets another tenant's principal do everything, or to every object.",
        "List what the guest needs.",
    ),
    "shadowed-by-deny": Kind(
        _WARNING,
        "Whatever the grant allows, a deny denies.",
        "Remove the grant, or narrow the deny.",
    ),
    "redundant": Kind(
        _WARNING,
        "Another grant of the same effect covers all of this one.",
        "Remove it.",
    ),
}
