"""What a lint of a configuration finds, and what it leaves alone."""

import pytest
import yaml

from ims_gateway.policy.covering import covers
from ims_gateway.policy.findings import KINDS, Severity
from ims_gateway.policy.grant import Grant
from ims_gateway.policy.lint import lint

GUEST = "tenants/globex/principals/robot"
GOOD = {
    "subject": "role/editor",
    "actions": ["submit", "get"],
    "read": ["oss://acme-media/*"],
    "write": ["oss://acme-media/out/*"],
}


def of(**members):
    """Return the good grant, changed."""
    return GOOD | members


@pytest.fixture
def found(tmp_path):
    """Return what finds something in a configuration with these grants for acme."""

    def find(*grants, platform=None, **members):
        (tmp_path / "tenants").mkdir()
        accounts = {"accounts": [{"name": "main", "region": "cn-shanghai"}]}
        files = {
            "accounts.yaml": accounts,
            "tenants/acme.yaml": {
                "name": "acme",
                "account": "main",
                "principals": [{"name": "farm", "roles": ["editor"]}],
                "grants": list(grants) or [GOOD],
            }
            | members,
            "tenants/globex.yaml": {
                "name": "globex",
                "account": "main",
                "principals": [{"name": "robot"}],
                "grants": [{"subject": "principal/robot", "actions": ["get"]}],
            },
        }
        if platform:
            files["grants.yaml"] = platform
        for name, content in files.items():
            text = yaml.safe_dump(content, sort_keys=False)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return [(each.code, each.rule) for each in lint(tmp_path)]

    return find


FIRST, SECOND = "acme.yaml#grants[0]", "acme.yaml#grants[1]"


def test_what_is_meant_is_left_alone(found):
    """A guest with few rights, a deny of a part, a role that includes another, a list for all."""
    grants = [
        GOOD,
        of(subject=GUEST, read=["oss://acme-media/shared/*"]),
        of(actions=["submit"], read=["oss://acme-media/secret/*"], write=[], effect="deny"),
        of(subject="role/viewer", actions=["list"], read=[], write=[]),
    ]
    platform = {"grants": [of(subject="role/viewer", read=["oss://{tenant}-x/*"])]}

    assert found(*grants, roles={"editor": ["viewer"]}, platform=platform) == []


SINGLE = {
    "unreachable-subject": [
        of(subject="role/editr"),
        of(subject="principal/nobody"),
        of(subject="tenants/globex/principals/nobody"),
        of(subject="tenants/initech/principals/robot"),
        of(subject="tenants/acme/principals/farm"),
    ],
    "unreachable-algorithm": [of(algorithms=["cover", "covr"]), of(algorithms=["*_clap"])],
    "unreachable-list": [of(actions=["get", "list"], algorithms=["cover"])],
    "unreachable-model": [
        of(ceilings={"models": ["algo-old"]}),
        of(algorithms=["cover"], ceilings={"models": ["algo-video-detext-new"]}),
    ],
    "unreachable-objects": [of(read=[], write=[])],
    "overbroad-actions": [of(actions=["*"])],
    "overbroad-objects": [
        of(read=["*"]),
        of(write=["oss://*"]),
        of(read=["oss://*-media/*"]),
        of(read=["o*"]),
    ],
    "overbroad-guest": [
        of(subject=GUEST, actions=["*"]),
        of(subject=GUEST, read=["oss://*/shared/*"]),
    ],
}


@pytest.mark.parametrize(
    ("code", "grant"), [(code, grant) for code, each in SINGLE.items() for grant in each]
)
def test_a_grant_is_found_by_itself(found, code, grant):
    """With the place where it stands."""
    assert [each for each in found(GOOD, grant) if each[1] == SECOND] == [(code, SECOND)]


def test_models_that_jobs_can_name_are_no_finding(found):
    """Nor is "-", which stands for none."""
    models = {"models": ["algo-video-detext-*", "-"]}

    assert found(of(ceilings=models)) == []


def test_a_grant_that_a_deny_covers_is_found(found):
    """In the tenant's own file, and under the platform's."""
    deny = of(effect="deny", read=["*"], write=[])

    assert found(GOOD, deny) == [("shadowed-by-deny", FIRST)]


def test_a_deny_of_the_platform_shadows_a_tenant_s_grant(found):
    """The finding is about the tenant's grant."""
    deny = of(effect="deny", write=["oss://acme-*"], read=["oss://acme*"])

    assert found(GOOD, platform={"grants": [deny]}) == [("shadowed-by-deny", FIRST)]


def test_of_two_grants_that_are_alike_the_later_is_too_many(found):
    """And of a wide and a narrow one, the narrow one, wherever it stands."""
    narrow = of(actions=["get"], read=[], write=[])

    assert found(narrow, GOOD, GOOD) == [
        ("redundant", FIRST),
        ("redundant", "acme.yaml#grants[2]"),
    ]


def test_a_role_s_grant_makes_a_principal_s_redundant(found):
    """The principal has the role."""
    assert found(GOOD, of(subject="principal/farm")) == [("redundant", SECOND)]


def test_a_role_that_no_grant_names_is_found(found):
    """It is misspelt, or of no use."""
    principals = [{"name": "farm", "roles": ["editor", "editr"]}]

    assert found(GOOD, principals=principals) == [("unused-role", "")]


def test_grants_on_trial_and_of_the_platform_are_looked_at_too(found):
    """Each in its own list."""
    bad = of(subject="role/editr")
    everything = {"grants": [bad], "shadow_grants": [of(actions=["*"])]}

    assert found(GOOD, shadow_grants=[bad], platform=everything) == [
        ("unreachable-subject", "acme.yaml#shadow_grants[0]"),
        ("unreachable-subject", "grants.yaml#grants[0]"),
        ("overbroad-actions", "grants.yaml#shadow_grants[0]"),
    ]


def test_a_file_that_is_not_taken_is_malformed_and_the_rest_is_looked_at(found, tmp_path):
    """With file and line."""
    found(of(actions=["*"]))
    (tmp_path / "tenants" / "globex.yaml").write_text("name: globex\nacount: x\n", encoding="utf-8")
    first, *_, last = lint(tmp_path)

    assert (first.code, first.file, first.line) == ("malformed", "globex.yaml", 1)
    assert (last.code, last.line) == ("overbroad-actions", 8)


def test_every_fault_of_a_configuration_that_cannot_be_loaded_is_found(found, tmp_path):
    """Of the platform and of the tenants."""
    found(GOOD)
    (tmp_path / "grants.yaml").write_text("grants:\n- subject: x\n", encoding="utf-8")
    (tmp_path / "tenants" / "globex.yaml").write_text("x: 1\nx: 2\n", encoding="utf-8")
    places = {(each.code, each.file, each.line) for each in lint(tmp_path)}

    assert ("malformed", "grants.yaml", 2) in places
    assert ("malformed", "globex.yaml", 2) in places


def test_every_code_is_found_by_some_test():
    """One that is not would be a promise."""
    known = {*SINGLE, "malformed", "unused-role", "shadowed-by-deny", "redundant"}

    assert known == KINDS.keys()
    assert {kind.severity for kind in KINDS.values()} == set(Severity)


WIDE = Grant("wide", "role/r", ("*",), read=("oss://a/*",), write=("oss://a/*", "media:*"))


@pytest.mark.parametrize(
    ("members", "covered"),
    [
        ({}, True),
        ({"read": ("oss://a/b/*",), "write": ("media:*-x", "oss://a/*/b")}, True),
        ({"read": ("oss://*",)}, False),
        ({"read": ("oss://a*",)}, False),
        ({"priority": (1, 3)}, True),
        ({"subject": "role/other"}, False),
        ({"templates": ("t",)}, True),
    ],
)
def test_one_grant_covers_another_only_where_that_is_sure(members, covered):
    """Pattern by pattern; a star of the narrow one needs a star of the wide one."""
    narrow = Grant(
        **{
            "rule": "narrow",
            "subject": "role/r",
            "actions": ("submit",),
            "read": ("oss://a/*",),
            "write": (),
        }
        | members
    )

    assert covers(WIDE, narrow, {}) == covered
    assert not covers(narrow, WIDE, {})
