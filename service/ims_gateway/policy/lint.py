"""Looks for grants that cannot be meant: malformed, unreachable, overbroad or shadowed ones.

Decides nothing about a call, and asks nobody: it reads the files as the gateway does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ims_gateway.algorithms.table import TABLE
from ims_gateway.algorithms.translation import models_of
from ims_gateway.policy.covering import ALGORITHMS, algorithms_of, covers
from ims_gateway.policy.enforcer import PolicyError, TenantPolicy, all_roles
from ims_gateway.policy.findings import Finding
from ims_gateway.policy.grant import Grant
from ims_gateway.policy.matching import ABSENT, fits
from ims_gateway.policy.nearest import GUEST
from ims_gateway.tenancy.directory import Directory
from ims_gateway.tenancy.files import TenantFile
from ims_gateway.tenancy.loading import load
from ims_gateway.tenancy.platform import grants_of, place_of
from ims_gateway.tenancy.reading import ConfigurationError, Fault, fault_at, parse
from ims_gateway.tenancy.tenant import Tenant

PLATFORM: Final = "grants.yaml"
OBJECTS: Final = "oss://"


@dataclass(frozen=True, slots=True)
class Rules:
    """One list of grants of a file, and those that are in force beside it.

    `subjects` are all that somebody is, `roles` the roles of each of them.
    """

    file: str
    text: str
    member: str
    grants: tuple[Grant, ...]
    beside: tuple[Grant, ...]
    subjects: frozenset[str]
    roles: Mapping[str, tuple[str, ...]]

    def finding(self, code: str, number: int, what: str) -> Finding:
        """Return a finding about a grant of the list."""
        line = fault_at(self.text, self.file, [self.member, number], "").line
        return Finding(code, self.file, line, self.grants[number].rule, what)


def lint(folder: Path) -> list[Finding]:
    """Return what is found in a configuration folder, file by file."""
    try:
        loaded = load(folder)
    except ConfigurationError as error:
        return _malformed(error.faults)
    directory = loaded.directory
    findings = _malformed(fault for found in loaded.faults.values() for fault in found)
    everybody: set[str] = set()
    principals = {name: _principals(directory, name) for name in directory}
    guests = frozenset(
        f"{GUEST}{tenant}/principals/{name}" for tenant in principals for name in principals[tenant]
    )
    for name in sorted(directory):
        tenant = directory.tenant(name)
        if tenant is not None:
            strangers = frozenset(g for g in guests if not g.startswith(f"{GUEST}{name}/"))
            subjects = _subjects(tenant, principals[name]) | strangers
            everybody |= subjects
            findings += _of_tenant(directory, tenant, principals[name], subjects)
    return [*findings, *_of_platform(folder, directory, frozenset(everybody))]


def _malformed(faults: Iterable[Fault]) -> list[Finding]:
    return [Finding("malformed", fault.file, fault.line, "", fault.message) for fault in faults]


def _principals(directory: Directory, name: str) -> tuple[str, ...]:
    file = parse(directory.filed[name].text, f"{name}.yaml", TenantFile)
    return tuple(principal.name for principal in file.principals)


def _subjects(tenant: Tenant, principals: Sequence[str]) -> frozenset[str]:
    """Return all that somebody of the tenant is: principals, and their roles."""
    names = [f"principal/{name}" for name in principals]
    roles = all_roles(tenant.roles)
    return frozenset((*names, *(role for name in names for role in roles.get(name, ()))))


def _of_tenant(
    directory: Directory, tenant: Tenant, principals: Sequence[str], subjects: frozenset[str]
) -> Iterator[Finding]:
    file, text = f"{tenant.name}.yaml", directory.filed[tenant.name].text
    roles = all_roles(tenant.roles)
    for member, grants in (("grants", tenant.grants), ("shadow_grants", tenant.shadow_grants)):
        if grants is None:
            continue
        own = tuple(grant for grant in grants if grant.rule.startswith(f"{file}#{member}["))
        beside = tuple(grant for grant in grants if grant not in own)
        rules = Rules(file, text, member, own, beside, subjects, roles)
        yield from _unevaluable(rules, tenant)
        yield from _of_rules(rules)
    yield from _unused_roles(text, tenant, principals, roles)


def _of_platform(
    folder: Path, directory: Directory, everybody: frozenset[str]
) -> Iterator[Finding]:
    shared = directory.platform.shared
    path = place_of(folder) / PLATFORM
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    roles = all_roles(
        {
            f"role/{name}": tuple(f"role/{each}" for each in included)
            for name, included in shared.roles.items()
        }
    )
    for member, files in (("grants", shared.grants), ("shadow_grants", shared.shadow_grants)):
        grants = grants_of(f"{PLATFORM}#{member}", files or ())
        yield from _of_rules(Rules(PLATFORM, text, member, grants, (), everybody, roles))


def _unevaluable(rules: Rules, tenant: Tenant) -> Iterator[Finding]:
    """Try every row in casbin, as the gateway does before the tenant's first call."""
    try:
        TenantPolicy(tenant.version, (*rules.grants, *rules.beside), tenant.roles)
    except PolicyError as error:
        yield Finding("malformed", rules.file, 0, "", str(error))


def _unused_roles(
    text: str, tenant: Tenant, principals: Sequence[str], roles: Mapping[str, tuple[str, ...]]
) -> Iterator[Finding]:
    granted = {grant.subject for grant in (*tenant.grants, *(tenant.shadow_grants or ()))}
    file = f"{tenant.name}.yaml"
    for number, name in enumerate(principals):
        for role in tenant.roles.get(f"principal/{name}", ()):
            if granted.isdisjoint((role, *roles.get(role, ()))):
                line = fault_at(text, file, ["principals", number, "roles"], "").line
                yield Finding("unused-role", file, line, "", f"principal/{name} has {role}")


def _of_rules(rules: Rules) -> Iterator[Finding]:
    for number, grant in enumerate(rules.grants):
        found = [*_unreachable(rules, grant), *_overbroad(grant)]
        # Of a grant that nothing reaches, one word is enough.
        if not any(code.startswith("unreachable") for code, _ in found):
            found += _shadowed(rules, number)
        for code, what in found:
            yield rules.finding(code, number, what)


def _unreachable(rules: Rules, grant: Grant) -> Iterator[tuple[str, str]]:
    if grant.subject not in rules.subjects:
        yield "unreachable-subject", f"nobody is {grant.subject}"
    for pattern in grant.algorithms:
        if not any(fits(name, pattern) for name in (*ALGORITHMS, ABSENT)):
            yield "unreachable-algorithm", f"{pattern} is no algorithm"
    if "list" in grant.actions and ABSENT not in algorithms_of(grant):
        yield "unreachable-list", f"list with {', '.join(grant.algorithms)}"
    yield from _unreachable_models(grant)
    if grant.effect == "allow" and "submit" in grant.actions and not (grant.read or grant.write):
        yield "unreachable-objects", "submit with neither read nor write"


def _unreachable_models(grant: Grant) -> Iterator[tuple[str, str]]:
    known = {
        ABSENT,
        *(model for row in TABLE for model in models_of(row) if row.field in algorithms_of(grant)),
    }
    for pattern in grant.models:
        if not any(fits(model, pattern) for model in known):
            yield "unreachable-model", f"no job names the model {pattern}"


def _overbroad(grant: Grant) -> Iterator[tuple[str, str]]:
    if grant.effect == "deny":
        return
    everywhere = [pattern for pattern in (*grant.read, *grant.write) if _any_bucket(pattern)]
    if grant.subject.startswith(GUEST):
        if "*" in grant.actions or everywhere:
            yield "overbroad-guest", f"{grant.subject}: {', '.join(everywhere) or 'every action'}"
        return
    if "*" in grant.actions:
        yield "overbroad-actions", "every action"
    for pattern in dict.fromkeys(everywhere):
        yield "overbroad-objects", f"{pattern} covers buckets of any name"


def _any_bucket(pattern: str) -> bool:
    """Say whether a pattern leaves open how the bucket's name begins."""
    head, star, _ = pattern.partition("*")
    return bool(star) and OBJECTS.startswith(head)


def _shadowed(rules: Rules, number: int) -> Iterator[tuple[str, str]]:
    grant = rules.grants[number]
    if grant.effect == "allow":
        for other in (*rules.grants, *rules.beside):
            if other.effect == "deny" and covers(other, grant, rules.roles):
                yield "shadowed-by-deny", f"{other.rule} denies all of it"
                return
    # Of two that are alike, the later one is too many.
    for at, other in enumerate((*rules.grants, *rules.beside)):
        if at != number and other.effect == grant.effect and covers(other, grant, rules.roles):
            alike = covers(grant, other, rules.roles)
            if not alike or at < number or at >= len(rules.grants):
                yield "redundant", f"{other.rule} covers all of it"
                return
