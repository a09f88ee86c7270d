"""Suites say what a policy must answer."""

import pytest
import yaml

from ims_gateway.policy.grant import Grant
from ims_gateway.policy.suites import Examiner
from tests.tenants import a_tenant

GRANTS = (
    Grant(
        "acme.yaml#grants[0]",
        "role/editor",
        ("submit", "get"),
        algorithms=("cover",),
        read=("oss://acme-in/*",),
        write=("oss://acme-out/*",),
        priority=(1, 5),
    ),
)
TENANT = a_tenant(
    default_output="oss://acme-out/x", roles={"principal/farm": ("role/editor",)}, grants=GRANTS
)
JOB = {"cover": {"input": {"oss_uri": "oss://acme-in/a.mp4"}}}
EXAMINER = Examiner()


def case(answer, job=JOB, **members):
    """Return a case; members that begin with expect_ belong to the answer."""
    expect = {"allowed": answer == "allowed"} | {
        name.removeprefix("expect_"): members.pop(name)
        for name in [*members]
        if name.startswith("expect_")
    }
    job = {} if job is None else {"job": job}
    return {"name": "a case", "principal": "farm", "expect": expect, **job, **members}


@pytest.fixture
def suites(tmp_path):
    """Return what writes a suite and reads it."""
    (tmp_path / "policy_tests").mkdir()

    def read(*cases, text=None, tenant="acme"):
        text = text or yaml.safe_dump({"tenant": tenant, "cases": list(cases)})
        (tmp_path / "policy_tests" / "acme.yaml").write_text(text, encoding="utf-8")
        return EXAMINER.read(tmp_path)

    return read


@pytest.mark.parametrize(
    "good",
    [
        case("allowed"),
        case("allowed", expect_rule="acme.yaml#grants[0]"),
        case("denied", JOB | {"priority": 9}, expect_dimension="CEILING"),
        case("denied", principal="nobody", expect_dimension="SUBJECT"),
        case("denied", principal="tenants/globex/principals/farm"),
        case("allowed", None, action="get", algorithm="cover"),
        case("denied", None, action="list", expect_dimension="ACTION"),
    ],
)
def test_a_case_passes_where_the_answer_is_the_expected_one(suites, good):
    """The tenant's default output is filled in, roles and ceilings hold."""
    assert suites(good).check(TENANT) == ()


@pytest.mark.parametrize(
    ("bad", "wrong"),
    [
        (case("denied"), "expected denied, is allowed by acme.yaml#grants[0]"),
        (case("allowed", JOB | {"priority": 9}), "expected allowed, is denied (CEILING)"),
        (
            case("denied", JOB | {"priority": 9}, expect_dimension="READ"),
            "expected to fail at READ, fails at CEILING",
        ),
        (case("allowed", expect_rule="grants.yaml#grants[0]"), "it is acme.yaml#grants[0]"),
        (case("allowed", {"cover": {}}), "refused before the policy is asked"),
    ],
)
def test_a_case_fails_with_what_was_expected_and_what_is(suites, bad, wrong):
    """And says where it stands."""
    (fault,) = suites(case("allowed"), bad).check(TENANT)

    assert (fault.file, fault.message.startswith('"a case": ')) == ("policy_tests/acme.yaml", True)
    assert wrong in fault.message
    assert fault.line > 2


def test_a_suite_asks_about_its_own_tenant_only(suites):
    """Another tenant's suite says nothing about this one."""
    assert suites(case("denied"), tenant="globex").check(TENANT) == ()


def test_a_suite_that_fails_as_a_whole_stays_readable(suites):
    """The first cases, and how many more."""
    faults = suites(*[case("denied")] * 30).check(TENANT)

    assert len(faults) == 11
    assert faults[-1].message == "20 more cases fail"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tenant: acme\ncases: []\n", ":2: cases: "),
        ("tenant: acme\ncases: [{name: x, principal: farm, expect: {allowed: true}}]", "job goes"),
        (
            """tenant: acme
cases:
- name: x
  principal: farm
  expect: {allowed: true}
  job: {covr: {}}""",
            ":6: cases[0].job: ",
        ),
        ("tenant: acme\ntenant: acme\n", ":2: tenant stands twice"),
    ],
)
def test_a_suite_that_cannot_be_read_is_a_fault_with_file_and_line(suites, text, message):
    """It is run nowhere, and said so."""
    read = suites(text=text)

    assert read.suites == ()
    ((fault,),) = read.faults.values()
    assert str(fault).startswith("policy_tests/acme.yaml:")
    assert message in str(fault)


def test_a_policy_that_cannot_be_evaluated_fails_its_suite(suites):
    """Rather than ending what runs it."""
    broken = a_tenant(grants=(Grant("r", "principal/farm", ("submit",), effect=""),))
    (fault,) = suites(case("allowed")).check(broken)

    assert "cannot be evaluated" in fault.message
