"""Decides whether a principal may do what it asks, object by object, with casbin.

One small, immutable enforcer a tenant: pycasbin walks every rule for every question (about 40 µs a
rule under this matcher), so rules of other tenants would cost time and could, by a slip, decide. An
object enters a decision only through the patterns that match it, so two objects that match the same
patterns get the same remembered answer. What it never does: look at quotas, read files, or answer
where there is no policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import casbin

from ims_gateway.policy.decision import Ask, Decision, Dimension, ObjectDecision
from ims_gateway.policy.grant import Grant
from ims_gateway.policy.matching import ABSENT, NO_CEILING, covers, fits, touches, within
from ims_gateway.policy.nearest import failed_dimension, joined, nearest

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
    && touches(r.access, r.obj, p.read, p.write, p.eft) && within(r.priority, p.priority) \
    && fits(r.model, p.model) && fits(r.pipeline, p.pipeline) && fits(r.template, p.template)
"""
OBJECT: Final = 4  # where the object stands in a question
REMEMBERED: Final = 4096


class PolicyError(ValueError):
    """A policy that casbin cannot evaluate, found when it is loaded and not when it is asked."""


class TenantPolicy:
    """The grants of one tenant, its roles, and the platform's grants, ready to be asked.

    `roles` maps each subject ("principal/render-farm", "role/lead") to its roles ("role/editor").

    Raises PolicyError for an empty policy, an empty field, or a row that casbin cannot evaluate.
    """

    def __init__(
        self, version: str, grants: Sequence[Grant], roles: Mapping[str, tuple[str, ...]]
    ) -> None:
        if not grants:
            raise PolicyError("a policy without grants")
        self.version = version
        self._grants = tuple(grants)
        self._roles = all_roles(roles)
        self._enforcer = _enforcer(self._grants, self._roles)
        self._patterns = tuple(
            {
                (_joined(patterns), grant.effect)
                for grant in grants
                for patterns in (grant.read, grant.write)
            }
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
        return Decision(ask, failed is None, failed, answers, self.version)

    def explain(self, ask: Ask) -> Decision:
        """Answer as `decide` does, and name the grants that come closest for what is refused."""
        decision = self.decide(ask)
        subjects = self.subjects(ask.subject)
        answers = (
            answer
            if answer.allowed
            else replace(
                answer,
                nearest=nearest(ask, answer.access, answer.object, self._grants, subjects),
            )
            for answer in decision.objects
        )
        return replace(decision, objects=tuple(answers))

    def grants_of(self, subject: str) -> tuple[Grant, ...]:
        """Return the grants, of either effect, that name the subject or one of its roles."""
        subjects = self.subjects(subject)
        return tuple(grant for grant in self._grants if grant.subject in subjects)

    def subjects(self, subject: str) -> frozenset[str]:
        """Return by what names grants know the subject: its own, and its roles."""
        return frozenset((subject, *self._roles.get(subject, ())))

    def _answer(self, ask: Ask, access: str, obj: str) -> ObjectDecision:
        question = _question(ask, access, obj)
        matching = tuple(each for each in self._patterns if covers(access, obj, *each))
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
        failed = None
        if not allowed:
            access, obj = question[OBJECT - 1 : OBJECT + 1]
            failed = failed_dimension(ask, access, obj, self._grants, self.subjects(ask.subject))
        return bool(allowed), row[0] if row else "", failed

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


def all_roles(roles: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the roles of each subject, with all that they include, however many steps away.

    Casbin follows ten steps and no more; a deny of a role further away would not hold.
    """
    return {subject: _included(subject, roles) for subject in roles}


def _included(subject: str, roles: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    more = [*roles[subject]]
    while more:
        role = more.pop()
        if role not in found:
            found[role] = None
            more += roles.get(role, ())
    return tuple(found)


def _enforcer(grants: tuple[Grant, ...], roles: Mapping[str, tuple[str, ...]]) -> casbin.Enforcer:
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
    """Join patterns into one casbin field."""
    if any(not pattern for pattern in patterns):
        raise PolicyError("an empty pattern")
    return joined(patterns)


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
