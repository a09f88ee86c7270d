"""Every golden case: a request with the exact upstream parameters, or with the exact violations.

A case is tests/cases/<field of the algorithm in Job>/<what it shows>.yaml and holds

    description   one sentence
    job           the Job in protobuf's JSON form
    upstream      the parameters of SubmitIProductionJob, with the JSON in Input, Output, JobParams
                  and ScheduleConfig written as YAML; or
    violations    every violation: path from the request down, and id of the rule
    json_strings  those members of JobParams that are strings which hold JSON, in `upstream` written
                  as YAML, too

Rules that need a tenant, such as its region, are not shown here.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import protovalidate
import pytest
import yaml
from google.api import field_behavior_pb2
from google.protobuf import json_format

from buf.validate import validate_pb2
from ims_gateway.algorithms.table import TABLE
from ims_gateway.algorithms.translation import submit_parameters
from ims_gateway.violations import field_path
from imsgateway.v1 import annotations_pb2, job_pb2, job_service_pb2

FOLDER = Path(__file__).parents[2] / "cases"
JSON_PARAMETERS = {"Input", "Output", "JobParams", "ScheduleConfig"}
ARMS = list(job_pb2.Job.DESCRIPTOR.oneofs_by_name["algorithm"].fields)


@dataclass(frozen=True)
class Case:
    """One file: a job, and either what is sent for it or what is wrong with it."""

    algorithm: str
    name: str
    document: dict[str, Any]

    @property
    def request(self):
        """The job as a request."""
        return json_format.ParseDict(
            {"job": self.document["job"]}, job_service_pb2.SubmitJobRequest()
        )

    @property
    def violations(self):
        """Pairs of path and rule, sorted."""
        return sorted((each["path"], each["rule"]) for each in self.document["violations"])


CASES = [
    Case(path.parent.name, path.stem, yaml.safe_load(path.read_text("utf-8")))
    for path in sorted(FOLDER.glob("*/*.yaml"))
]
GOOD = [case for case in CASES if "upstream" in case.document]
BAD = [case for case in CASES if "violations" in case.document]


def identify(case):
    """Name a case by its path."""
    return f"{case.algorithm}/{case.name}"


def compact(structure):
    """Return compact JSON as the SDK writes it."""
    return json.dumps(structure, ensure_ascii=False, separators=(",", ":"))


def collect(request):
    """Return pairs of path and rule of what is wrong with a request, sorted."""
    violations = protovalidate.collect_violations(request)
    return sorted((field_path(each), each.proto.rule_id) for each in violations)


@pytest.mark.parametrize("case", GOOD, ids=identify)
def test_a_good_case_is_translated_to_its_exact_parameters(case):
    """Every parameter is there, nothing else is, and JSON is compact with the members in order."""
    expected = dict(case.document["upstream"])
    for member in case.document.get("json_strings", ()):
        expected["JobParams"][member] = compact(expected["JobParams"][member])
    for name in JSON_PARAMETERS & expected.keys():
        expected[name] = compact(expected[name])

    assert collect(case.request) == []
    assert submit_parameters(case.request.job) == expected


@pytest.mark.parametrize("case", BAD, ids=identify)
def test_a_bad_case_breaks_its_exact_rules(case):
    """All violations are reported at once, each with the path of its field."""
    assert collect(case.request) == case.violations


@pytest.mark.parametrize("case", CASES, ids=identify)
def test_a_case_says_what_it_shows_and_has_one_outcome(case):
    """A case has a description, a job of its folder's algorithm, and one of the two outcomes."""
    assert case.document["description"].endswith(".")
    assert case.request.job.WhichOneof("algorithm") == case.algorithm
    assert ("upstream" in case.document) != ("violations" in case.document)
    assert case.document.get("violations") != []


def test_contract_table_and_cases_know_the_same_algorithms():
    """An algorithm that lacks its row or its folder fails here, and so does one too many."""
    assert [algorithm.field for algorithm in TABLE] == [arm.name for arm in ARMS]
    assert {path.name for path in FOLDER.iterdir()} == {arm.name for arm in ARMS}


@pytest.mark.parametrize("algorithm", [arm.name for arm in ARMS])
def test_every_algorithm_has_good_and_bad_cases(algorithm):
    """At least two good cases and three bad ones show an algorithm."""
    assert sum(case.algorithm == algorithm for case in GOOD) >= 2
    assert sum(case.algorithm == algorithm for case in BAD) >= 3


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_every_rule_of_an_algorithm_is_broken_by_a_case(arm):
    """A rule that the contract states for an algorithm is shown at work in its folder."""
    own = [case for case in BAD if case.algorithm == arm.name]
    broken = {violation for case in own for violation in case.violations}

    assert not unbroken(rules_of(arm.message_type, f"job.{arm.name}"), broken)


def test_every_rule_of_the_job_itself_is_broken_by_a_case():
    """The members that all algorithms share are checked too."""
    broken = {violation for case in BAD for violation in case.violations}
    shared = [field for field in job_pb2.Job.DESCRIPTOR.fields if field not in ARMS]
    rules = [rule for field in shared for rule in rules_of_field(field, "job")]

    assert rules
    assert not unbroken(rules, broken)


def test_every_rule_for_addresses_is_broken_by_a_case():
    """Each of the rules that the contract itself defines is shown at work."""
    options = [each.GetOptions() for each in annotations_pb2.DESCRIPTOR.extensions_by_name.values()]
    defined = {cel.id for each in options for cel in each.Extensions[validate_pb2.predefined].cel}

    assert defined
    assert defined <= {rule for case in BAD for _, rule in case.violations}


def test_a_job_without_an_algorithm_is_refused():
    """The missing arm is named."""
    assert collect(job_service_pb2.SubmitJobRequest(job=job_pb2.Job())) == [
        ("job.algorithm", "required")
    ]


def test_a_request_without_a_job_is_refused():
    """The missing job is named, beside what else is wrong."""
    request = job_service_pb2.SubmitJobRequest(parent="tenants/A", request_id="1")

    assert collect(request) == [
        ("job", "required"),
        ("parent", "string.pattern"),
        ("request_id", "string.uuid"),
    ]


def unbroken(rules, broken):
    """Return the rules that no violation belongs to; an empty id stands for any rule of a field."""
    plain = {(re.sub(r"\[[^]]*\]", "", path), rule) for path, rule in broken}
    plain |= {(path, "") for path, _ in plain}
    return set(rules) - plain


def rules_of(message, path) -> Iterator[tuple[str, str]]:
    """Yield path and id of each rule of a message and of the messages in it."""
    for cel in message.GetOptions().Extensions[validate_pb2.message].cel:
        yield path, cel.id
    for oneof in message.oneofs:
        if oneof.GetOptions().Extensions[validate_pb2.oneof].required:
            yield f"{path}.{oneof.name}", "required"
    for field in message.fields:
        yield from rules_of_field(field, path)


def rules_of_field(field, path) -> Iterator[tuple[str, str]]:
    """Yield path and id of each rule of a field; the id of a standard rule is left empty."""
    options = field.GetOptions()
    behaviors = options.Extensions[field_behavior_pb2.field_behavior]
    if field_behavior_pb2.OUTPUT_ONLY in behaviors:
        return
    rules = options.Extensions[validate_pb2.field]
    where = f"{path}.{field.name}"
    if rules.required:
        yield where, "required"
    if rules.WhichOneof("type"):
        yield where, ""
    for cel in rules.cel:
        yield where, cel.id
    if field.message_type is not None:
        yield from rules_of(field.message_type, where)
