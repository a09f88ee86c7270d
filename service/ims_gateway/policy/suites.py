"""Tests of policies: suites of questions with the answers that they must have.

    policy_tests/<any name>.yaml   one suite, about one tenant

Decides whether a tenant's policy answers as a suite expects. It goes the way of a submit, from the
tenant's default output over the rules of the contract to the policy; nothing of the tenant's is
changed, sent or charged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf import json_format

from ims_gateway.algorithms.translation import with_default_output
from ims_gateway.errors import InvalidRequest
from ims_gateway.jobs.spec import spec_of
from ims_gateway.policy import questions
from ims_gateway.policy.decision import Ask, Decision
from ims_gateway.policy.enforcer import PolicyError, TenantPolicy
from ims_gateway.policy.matching import ABSENT
from ims_gateway.policy.suite_file import CaseFile, ExpectFile, SuiteFile
from ims_gateway.tenancy.reading import ConfigurationError, Fault, fault_at, parse, text_of
from ims_gateway.tenancy.tenant import Tenant
from ims_gateway.validation import Validation
from imsgateway.v1 import access_service_pb2, job_pb2

FOLDER: Final = "policy_tests"
# A suite that fails as a whole says so with its first cases.
SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Case:
    """One question as it is asked. `job` is None for all but a submit, `text` is the file's."""

    file: str
    number: int
    written: CaseFile
    job: job_pb2.Job | None
    text: str

    @property
    def line(self) -> int:
        """The line at which it stands. It takes as long as to read the file."""
        return fault_at(self.text, self.file, ["cases", self.number], "").line

    @property
    def subject(self) -> str:
        """The principal as policies know it."""
        return subject_of(self.written.principal)


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite that can be run."""

    file: str
    tenant: str
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case; `wrong` is empty where the answer is the expected one."""

    case: Case
    wrong: str


class Suites:
    """The suites of a folder. `validation` returns what checks the jobs."""

    def __init__(
        self,
        suites: Sequence[Suite],
        faults: Mapping[str, tuple[Fault, ...]],
        validation: Callable[[], Validation],
    ) -> None:
        self.suites = tuple(suites)
        self.faults = faults
        self._validation = validation
        self._by_tenant: dict[str, tuple[Suite, ...]] = {}
        for suite in suites:
            self._by_tenant[suite.tenant] = (*self._by_tenant.get(suite.tenant, ()), suite)
        # The suites' files of each tenant that has some.
        self.tenants: Mapping[str, frozenset[str]] = {
            name: frozenset(suite.file for suite in found)
            for name, found in self._by_tenant.items()
        }

    def check(self, tenant: Tenant) -> tuple[Fault, ...]:
        """Return a fault for each case that fails, the first ones where there are many."""
        failed = [outcome for outcome in self.run(tenant) if outcome.wrong]
        faults = [
            Fault(each.case.file, each.case.line, f'"{each.case.written.name}": {each.wrong}')
            for each in failed[:SHOWN]
        ]
        if more := len(failed) - len(faults):
            faults.append(Fault(failed[-1].case.file, 0, f"{more} more cases fail"))
        return tuple(faults)

    def run(self, tenant: Tenant) -> Iterator[Outcome]:
        """Yield what comes of each case about the tenant."""
        suites = self._by_tenant.get(tenant.name, ())
        cases = [case for suite in suites for case in suite.cases]
        if not cases:
            return
        try:
            policy = TenantPolicy(tenant.version, tenant.grants, tenant.roles)
        except PolicyError as error:
            yield Outcome(cases[0], f"the policy cannot be evaluated: {error}")
            return
        for case in cases:
            yield Outcome(case, self._wrong(policy, tenant, case))

    def _wrong(self, policy: TenantPolicy, tenant: Tenant, case: Case) -> str:
        try:
            decision = policy.decide(self._question(tenant, case))
        except InvalidRequest as error:
            return f"the job would be refused before the policy is asked: {error.message}"
        return _difference(case.written.expect, decision)

    def _question(self, tenant: Tenant, case: Case) -> Ask:
        if case.job is not None:
            return question(case.subject, tenant, case.job, self._validation())
        algorithm = case.written.algorithm or ABSENT
        return questions.to_follow(case.subject, tenant.resource, case.written.action, algorithm)


class Examiner:
    """Reads suites. Compiling the contract's rules takes a while, so it waits for a first job."""

    def __init__(self) -> None:
        self._validation: Validation | None = None

    def validation(self) -> Validation:
        """Return what checks jobs."""
        if self._validation is None:
            self._validation = Validation()
        return self._validation

    def read(self, folder: Path) -> Suites:
        """Read the suites of a configuration folder; those that cannot be read are its faults."""
        files = sorted((folder / FOLDER).glob("*.yaml"))
        return self.read_files({f"{FOLDER}/{file.name}": file for file in files})

    def read_files(self, files: Mapping[str, Path]) -> Suites:
        """Read the suites of these files, each with the name by which it is told of."""
        suites, faults = [], {}
        for name, file in files.items():
            try:
                suites.append(_suite(text_of(file), name))
            except ConfigurationError as error:
                faults[name] = tuple(
                    Fault(name, fault.line, fault.message) for fault in error.faults
                )
        return Suites(suites, faults, self.validation)


def subject_of(principal: str) -> str:
    """Return what policies know a principal as that is named as suites name it."""
    return principal if "/" in principal else f"principal/{principal}"


def question(subject: str, tenant: Tenant, job: job_pb2.Job, validation: Validation) -> Ask:
    """Return what a submit of the job would ask. Raises InvalidRequest."""
    spec = spec_of(job)
    if tenant.default_output and spec.WhichOneof("algorithm"):
        spec = with_default_output(spec, tenant.default_output)
    request = access_service_pb2.ExplainAccessRequest(job=job)
    validation.check_job(request, spec, tenant)
    return questions.to_submit(subject, spec)


def _suite(text: str, name: str) -> Suite:
    """Return the suite of a file's text. Raises ConfigurationError with every fault."""
    file = parse(text, name, SuiteFile)
    cases, faults = [], []
    for number, case in enumerate(file.cases):
        try:
            job = None if case.job is None else json_format.ParseDict(case.job, job_pb2.Job())
        except json_format.ParseError as error:
            faults.append(fault_at(text, name, ["cases", number, "job"], str(error)))
        else:
            cases.append(Case(name, number, case, job, text))
    if faults:
        raise ConfigurationError(faults)
    return Suite(name, file.tenant, tuple(cases))


def _difference(expect: ExpectFile, decision: Decision) -> str:
    dimension = decision.failed.name if decision.failed else ""
    if expect.allowed != decision.allowed:
        if decision.allowed:
            return f"expected denied, is allowed by {decision.rule}"
        return f"expected allowed, is denied ({dimension}{_by(decision)})"
    if expect.dimension and expect.dimension != dimension:
        return f"expected to fail at {expect.dimension}, fails at {dimension}{_by(decision)}"
    if expect.rule and expect.rule not in {answer.rule for answer in decision.objects}:
        return f"expected {expect.rule} to decide, it is {decision.rule or 'no rule'}"
    return ""


def _by(decision: Decision) -> str:
    return f", {decision.rule}" if decision.rule else ""
