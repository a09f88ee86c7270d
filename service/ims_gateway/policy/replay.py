"""Asks policies anew what was asked before, to see what a change would allow and deny.

Reads the records of the decision log. Calls that were refused before a policy was asked are left
out, and so is everything that only a live call has: limits, request ids, the service's answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from ims_gateway.policy.decision import Ask, Decision
from ims_gateway.policy.policies import Policies
from ims_gateway.tenancy.directory import Directory

# Of the calls that a change would decide otherwise, as many are named.
SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer: allowed or not, the dimension that failed, the rule that decided."""

    allowed: bool
    dimension: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """What calls have in common whose answers change in the same way."""

    tenant: str
    subject: str
    action: str
    algorithm: str
    before: Verdict
    after: Verdict


@dataclass(slots=True)
class Change:
    """How many calls of a group there are, and some of their objects and decisions."""

    calls: int = 0
    objects: list[str] = field(default_factory=list)
    decision_ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Replay:
    """What came of a replay: calls asked anew, lines that hold no question, lines of no sense."""

    asked: int = 0
    without_question: int = 0
    unreadable: int = 0
    changes: dict[Group, Change] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Recorded:
    tenant: str
    ask: Ask
    calls: int
    decision_id: str


def replay(lines: Iterable[str], before: Directory, after: Directory) -> Replay:
    """Ask two directories everything that the lines of a decision log recorded."""
    found = Replay()
    policies = Policies(), Policies()
    for line in filter(str.strip, lines):
        try:
            recorded = _recorded(json.loads(line))
            if recorded is None:
                found.without_question += 1
                continue
            answers = (_ask(policies[0], before, recorded), _ask(policies[1], after, recorded))
        except (ValueError, TypeError, KeyError, AttributeError):
            found.unreadable += 1
            continue
        found.asked += recorded.calls
        if _verdict(answers[0]).allowed != _verdict(answers[1]).allowed:
            _note(found, recorded, *answers)
    return found


def _recorded(record: dict[str, Any]) -> _Recorded | None:
    """Return the question of a record, None where it has none. Raises what malformed ones raise."""
    policy = record.get("policy")
    if policy is None:
        return None
    ask = Ask(
        subject=policy["subject"],
        action=policy["action"],
        algorithm=policy["algorithm"],
        objects=tuple((found["access"], found["object"]) for found in policy["objects"]),
        priority=policy["priority"],
        model=policy["model"],
        pipeline=policy["pipeline"],
        template=policy["template"],
    )
    return _Recorded(record["tenant"], ask, record.get("count", 1), record["decision_id"])


def _ask(policies: Policies, directory: Directory, recorded: _Recorded) -> Decision | None:
    """Return the decision, None where there is no such tenant."""
    tenant = directory.tenant(recorded.tenant)
    return None if tenant is None else policies.of(tenant).decide(recorded.ask)


def _verdict(decision: Decision | None) -> Verdict:
    if decision is None:
        return Verdict(allowed=False, rule="no such tenant")
    dimension = decision.failed.name if decision.failed else ""
    return Verdict(decision.allowed, dimension, decision.rule)


def _note(
    found: Replay, recorded: _Recorded, before: Decision | None, after: Decision | None
) -> None:
    ask = recorded.ask
    group = Group(
        recorded.tenant, ask.subject, ask.action, ask.algorithm, _verdict(before), _verdict(after)
    )
    change = found.changes.setdefault(group, Change())
    change.calls += recorded.calls
    if len(change.decision_ids) < SHOWN:
        change.decision_ids.append(recorded.decision_id)
    refused = next(each for each in (before, after) if each is None or not each.allowed)
    for answer in refused.objects if refused else ():
        named = f"{answer.access} {answer.object}"
        if not answer.allowed and named not in change.objects and len(change.objects) < SHOWN:
            change.objects.append(named)
