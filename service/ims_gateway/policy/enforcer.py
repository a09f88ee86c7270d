"""Decides whether a principal may do what it asks, object by object, with casbin.

One small, immutable enforcer a tenant: pycasbin walks every rule for every question (about 40 µs a
rule under this matcher), so rules of other tenants would cost time and could, by a slip, decide. An
object enters a decision only through the patterns that match it, so two objects that match the same
patterns get the same remembered answer. What it never does: look at quotas, read files, or answer
where there is no policy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import casbin

from ims_gateway.policy.decision import Ask, Decision, Dimension, ObjectDecision
from ims_gateway.policy.grant import Grant

MODEL: Final = """
[request_definition]
r = sub, act, alg, access, obj, priority, model, pipeline, template

[policy_definition]
p = rule, sub, act, alg, read, write, priority, model, pipeline, template, eft

[role_definition]
g = _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = g(r.sub, p.sub) && fits(r.act, p.act) && fits(r.alg, p.alg) \
    && touches(r.access, r.obj, p.read, p.write) && within(r.priority, p.priority) \
    && fits(r.model, p.model) && fits(r.pipeline, p.pipeline) && fits(r.template, p.template)
"""
SEPARATOR: Final = "\n"
NO_CEILING: Final = "*"
# Casbin allows a call of empty strings under an empty policy, so nothing empty ever reaches it.
ABSENT: Final = "-"
OBJECT: Final = 4  # where the object stands in a question
REMEMBERED: Final = 4096


class PolicyError(ValueError):
    """A policy that casbin cannot evaluate, found when it is loaded and not when it is asked."""


class TenantPolicy:
    """The grants of one tenant, its roles, and the platform's grants, ready to be asked.

    `roles` maps each subject ("principal/render-farm") to its roles ("role/editor").

    Raises PolicyError for an empty policy, an empty field, or a row that casbin cannot evaluate.
    """

    def __init__(
        self, version: str, grants: Sequence[Grant], roles: dict[str, tuple[str, ...]]
    ) -> None:
        if not grants:
            raise PolicyError("a policy without grants")
        self.version = version
        self._grants = tuple(grants)
        self._roles = roles
        self._enforcer = _enforcer(self._grants, roles)
        self._patterns = tuple(
            {_joined(patterns) for grant in grants for patterns in (grant.read, grant.write)}
        )
        self._remembered: dict[tuple[object, ...], tuple[bool, str, Dimension | None]] = {}
        self._try_every_row()

    def decide(self, ask: Ask) -> Decision:
        """Answer for each object the call touches; the call is allowed if every answer is yes.

        Raises PolicyError for a question without objects, to which "every" would say yes.
        """
        if not ask.objects:
            raise PolicyError("a question about no object")
        answers = tuple(self._answer(ask, access, obj) for access, obj in ask.objects)
        failed = next((answer.failed for answer in answers if not answer.allowed), None)
        return Decision(
            allowed=failed is None, failed=failed, objects=answers, policy_version=self.version
        )

    def _answer(self, ask: Ask, access: str, obj: str) -> ObjectDecision:
        question = _question(ask, access, obj)
        matching = tuple(pattern for pattern in self._patterns if fits(obj, pattern))
        key = (*question[:OBJECT], *question[OBJECT + 1 :], matching)
        answer = self._remembered.get(key)
        if answer is None:
            answer = self._enforce(ask, question)
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = answer
        allowed, rule, failed = answer
        return ObjectDecision(access, obj, allowed=allowed, rule=rule, failed=failed)

    def _enforce(self, ask: Ask, question: tuple[str, ...]) -> tuple[bool, str, Dimension | None]:
        allowed, row = self._enforcer.enforce_ex(*question)
        failed = (
            None if allowed else self._failed_dimension(ask, *question[OBJECT - 1 : OBJECT + 1])
        )
        return bool(allowed), row[0] if row else "", failed

    def _failed_dimension(self, ask: Ask, access: str, obj: str) -> Dimension:
        """Return the dimension in which the grant that comes closest does not fit."""
        subjects = {ask.subject, *self._roles.get(ask.subject, ())}
        allows = [grant for grant in self._grants if grant.effect == "allow"]
        tests: tuple[tuple[Dimension, Callable[[Grant], bool]], ...] = (
            (Dimension.SUBJECT, lambda grant: grant.subject in subjects),
            (Dimension.ACTION, lambda grant: fits(ask.action, _joined(grant.actions))),
            (Dimension.ALGORITHM, lambda grant: fits(ask.algorithm, _joined(grant.algorithms))),
            (
                Dimension.WRITE if access == "write" else Dimension.READ,
                lambda grant: touches(access, obj, _joined(grant.read), _joined(grant.write)),
            ),
            (Dimension.CEILING, lambda grant: _within_ceilings(ask, grant)),
        )
        for dimension, test in tests:
            allows = [grant for grant in allows if test(grant)]
            if not allows:
                return dimension
        return Dimension.DENY

    def _try_every_row(self) -> None:
        """Evaluate each row once: a row that is too short breaks every later call of the tenant.

        A row is asked about its own patterns, which match themselves, so that all of it is tried.
        """
        for grant in self._grants:
            action, algorithm, obj, *limits = (
                _joined(patterns[:1])
                for patterns in (
                    grant.actions,
                    grant.algorithms,
                    grant.read,
                    grant.models,
                    grant.pipelines,
                    grant.templates,
                )
            )
            ask = Ask(grant.subject, action, algorithm, (), 1, *limits)
            try:
                self._enforcer.enforce(*_question(ask, "read", obj))
            except Exception as error:
                raise PolicyError(f"{grant.rule}: {error}") from error


def fits(value: str, patterns: str) -> bool:
    """Say whether the value matches one of the patterns, of which only `*` is special."""
    return patterns == NO_CEILING or _expression(patterns).fullmatch(value) is not None


def touches(access: str, obj: str, read: str, write: str) -> bool:
    """Say whether the patterns for reading or for writing cover the object."""
    if access == "none":
        return True
    return fits(obj, write if access == "write" else read)


def within(priority: str, ceiling: str) -> bool:
    """Say whether the priority lies in the range `low-high`; no priority asked for always does."""
    if priority == ABSENT or ceiling == NO_CEILING:
        return True
    low, high = ceiling.split("-")
    return int(low) <= int(priority) <= int(high)


@lru_cache(maxsize=65536)
def _expression(patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(map(_glob, patterns.split(SEPARATOR))), re.DOTALL)


def _glob(pattern: str) -> str:
    """Return the glob as a regular expression.

    The groups are atomic. Where `.*` may be tried again, three stars and a key of 600 characters
    that a caller chose take five seconds.
    """
    head, *parts = map(re.escape, pattern.split("*"))
    if not parts:
        return head
    *middle, tail = parts
    return head + "".join(f"(?>.*?{part})" for part in middle) + f".*{tail}"


def _enforcer(grants: tuple[Grant, ...], roles: dict[str, tuple[str, ...]]) -> casbin.Enforcer:
    model = casbin.Model()
    model.load_model_from_text(MODEL)
    enforcer = casbin.Enforcer(model)
    for function in (fits, touches, within):
        enforcer.add_function(function.__name__, function)
    for grant in grants:
        enforcer.add_policy(*_row(grant))
    for subject, names in roles.items():
        for name in names:
            enforcer.add_grouping_policy(subject, name)
    return enforcer


def _row(grant: Grant) -> list[str]:
    priority = NO_CEILING if grant.priority is None else f"{grant.priority[0]}-{grant.priority[1]}"
    row = [
        grant.rule,
        grant.subject,
        _joined(grant.actions),
        _joined(grant.algorithms),
        _joined(grant.read),
        _joined(grant.write),
        priority,
        _joined(grant.models),
        _joined(grant.pipelines),
        _joined(grant.templates),
        grant.effect,
    ]
    if not all(row):
        raise PolicyError(f"{grant.rule}: an empty field")
    return row


def _joined(patterns: tuple[str, ...]) -> str:
    """Join patterns into one casbin field; nothing covered is a pattern that nothing matches."""
    if any(not pattern for pattern in patterns):
        raise PolicyError("an empty pattern")
    return SEPARATOR.join(patterns) or ABSENT


def _question(ask: Ask, access: str, obj: str) -> tuple[str, ...]:
    question = (
        ask.subject,
        ask.action,
        ask.algorithm,
        access,
        obj,
        ABSENT if ask.priority is None else str(ask.priority),
        ask.model or ABSENT,
        ask.pipeline or ABSENT,
        ask.template or ABSENT,
    )
    if not all(question):
        raise PolicyError("an empty field in a question")
    return question


def _within_ceilings(ask: Ask, grant: Grant) -> bool:
    row = _row(grant)
    return (
        within(ABSENT if ask.priority is None else str(ask.priority), row[6])
        and fits(ask.model or ABSENT, row[7])
        and fits(ask.pipeline or ABSENT, row[8])
        and fits(ask.template or ABSENT, row[9])
    )
