"""What a refused caller is told of the grants that come closest."""

import dataclasses

import pytest

from ims_gateway.policy.decision import Ask, Dimension, NearGrant
from ims_gateway.policy.enforcer import TenantPolicy
from ims_gateway.policy.grant import Grant

IN = "oss://acme-in/film.mp4"
ASK = Ask("principal/farm", "submit", "cover", (("read", IN),), priority=9)
FIT = Grant("fit", "role/editor", ("submit",), read=("oss://acme-in/*",), write=("*",))
ROLES = {"principal/farm": ("role/lead",), "role/lead": ("role/editor",)}


def nearest(*grants, ask=ASK):
    """Return what comes closest to allowing the first object."""
    return TenantPolicy("v1", grants, ROLES).explain(ask).objects[0].nearest


def changed(rule, **members):
    """Return the grant that fits, changed."""
    return dataclasses.replace(FIT, rule=rule, **members)


def test_an_allowed_object_needs_no_explanation():
    """Nothing comes closer than what fits."""
    assert nearest(FIT, changed("other", read=("x",))) == ()


@pytest.mark.parametrize(
    ("members", "failed"),
    [
        ({"actions": ("get",)}, (Dimension.ACTION,)),
        ({"algorithms": ("video_*",)}, (Dimension.ALGORITHM,)),
        ({"read": ("oss://other/*",)}, (Dimension.READ,)),
        ({"priority": (1, 5)}, (Dimension.CEILING,)),
        ({"models": ("m",)}, (Dimension.CEILING,)),
        ({"subject": "role/admin"}, (Dimension.SUBJECT,)),
        ({"read": (), "priority": (1, 5)}, (Dimension.READ, Dimension.CEILING)),
    ],
)
def test_a_grant_is_named_with_every_dimension_that_does_not_fit(members, failed):
    """Mending one of two would lead to the next refusal."""
    assert nearest(changed("near", **members)) == (NearGrant("near", failed),)


def test_the_best_stands_first_and_few_are_named():
    """The caller's own before those of others; the less misfits, the nearer."""
    found = nearest(
        changed("others", subject="role/admin"),
        changed("far", algorithms=("x",), read=(), priority=(1, 2)),
        changed("near", priority=(1, 2)),
        changed("nearer than far", algorithms=("x",), read=()),
        *(changed(f"others {number}", subject="role/admin") for number in range(50)),
    )

    assert [near.rule for near in found] == ["near", "nearer than far", "far"]


def test_a_deny_is_said_to_stand_in_the_way_of_every_grant():
    """Who mends the grant only would be denied all the same."""
    deny = changed("deny", effect="deny")

    assert nearest(FIT, deny) == (NearGrant("fit", (Dimension.DENY,)),)
    assert nearest(changed("near", read=()), deny) == (
        NearGrant("near", (Dimension.READ, Dimension.DENY)),
    )


def test_a_guest_is_shown_no_grant_but_its_own():
    """How another tenant arranges its grants is that tenant's affair."""
    guest = "tenants/globex/principals/robot"
    own = changed("own", subject=guest, read=("oss://acme-in/shared/*",))
    found = nearest(FIT, own, ask=dataclasses.replace(ASK, subject=guest))

    assert found == (NearGrant("own", (Dimension.READ,)),)


def test_a_role_included_by_a_role_is_the_caller_s():
    """The dimension is not that nobody names the caller."""
    decision = TenantPolicy("v1", (changed("near", read=("x",)),), ROLES).decide(ASK)

    assert decision.failed is Dimension.READ


def test_roles_are_included_however_many_steps_away():
    """Casbin follows ten; a deny for the eleventh would not hold."""
    chain = {f"role/{number}": (f"role/{number + 1}",) for number in range(30)}
    roles = {"principal/farm": ("role/0",)} | chain
    allow = changed("allow", subject="role/30")
    deny = changed("deny", subject="role/29", effect="deny")

    assert TenantPolicy("v1", (allow,), roles).decide(ASK).allowed
    assert TenantPolicy("v1", (allow, deny), roles).decide(ASK).rule == "deny"


def test_roles_of_two_files_that_include_each_other_end():
    """Each file has no circle; together they may."""
    roles = {"principal/farm": ("role/a",), "role/a": ("role/b",), "role/b": ("role/a",)}

    assert TenantPolicy("v1", (changed("r", subject="role/b"),), roles).decide(ASK).allowed
