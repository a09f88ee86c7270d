"""What a caller may submit, algorithm by algorithm."""

import pytest

from ims_gateway.algorithms.table import TABLE
from ims_gateway.policy.enforcer import TenantPolicy
from ims_gateway.policy.grant import Grant
from ims_gateway.policy.permissions import permissions

ROLES = {"principal/farm": ("role/lead",), "role/lead": ("role/editor",)}
ALLOW = Grant("allow", "role/editor", ("submit",), ("video_*",), read=("*",), write=("*",))


def allowed(*grants):
    """Return the algorithms of which the farm may submit some job, and the rules about each."""
    mine = TenantPolicy("v1", grants, ROLES).grants_of("principal/farm")
    found = permissions(mine)
    assert [one.algorithm for one in found] == [row.field for row in TABLE]
    return {one.algorithm: [grant.rule for grant in one.grants] for one in found if one.allowed}


def test_an_algorithm_is_allowed_by_a_grant_of_the_caller_or_of_its_roles():
    """Also of roles that its roles include; grants of others do not count."""
    others = Grant("others", "role/admin", ("submit",))
    named = Grant("named", "principal/farm", ("*",), ("cover",))
    found = allowed(ALLOW, others, named)

    assert set(found) == {"cover"} | {r.field for r in TABLE if r.field.startswith("video_")}
    assert (found["cover"], found["video_clip"]) == (["named"], ["allow"])


def test_a_grant_for_other_actions_allows_no_submit():
    """To look at jobs is not to submit them."""
    assert allowed(Grant("get", "role/editor", ("get", "list"))) == {}


@pytest.mark.parametrize("members", [{"read": ("*",)}, {"write": ("x", "*")}])
def test_what_is_denied_outright_is_not_allowed(members):
    """Every job reads something, and writes something."""
    deny = Grant("deny", "principal/farm", ("*",), ("video_clip",), effect="deny", **members)
    found = allowed(ALLOW, deny)

    assert "video_clip" not in found
    assert found["video_h2v"] == ["allow"]


@pytest.mark.parametrize(
    "members",
    [
        {"read": ("oss://vault/*",)},
        {"read": ("*",), "priority": (8, 10)},
        {"read": ("*",), "models": ("m",)},
    ],
)
def test_what_is_denied_in_part_is_allowed_and_the_deny_is_listed(members):
    """Some job gets past it."""
    deny = Grant("deny", "principal/farm", ("*",), ("video_clip",), effect="deny", **members)

    assert allowed(ALLOW, deny)["video_clip"] == ["allow", "deny"]
