"""A policy on trial is asked beside the one in force, and decides nothing."""

import pytest

from ims_gateway.identity.principal import Principal
from ims_gateway.policy.authorization import Authorization
from ims_gateway.policy.grant import Grant
from imsgateway.v1 import job_pb2
from tests.tenants import a_tenant, directory_of

CALLER = Principal("principal/farm", "acme")
ALLOW = Grant("live", "principal/farm", ("*",), read=("*",), write=("*",))
DENY = Grant("deny", "principal/farm", ("*",), read=("*",), effect="deny")
BROKEN = Grant("broken", "principal/farm", ("submit",), effect="")
JOB = job_pb2.Job(
    cover={
        "input": {"oss_uri": "oss://media-in/a"},
        "output": {"uri": "oss://media-out/{sequenceId}.png"},
    }
)


def asked(grants, shadow_grants, times=1, action=None):
    """Ask a tenant's policy; return the last decision and what was counted."""
    counted = []
    tenant = a_tenant(grants=grants, shadow_grants=shadow_grants)
    authorization = Authorization(lambda: directory_of([tenant]), counted.append)
    for _ in range(times):
        decision = (
            authorization.follow(CALLER, tenant, action)
            if action
            else authorization.submit(CALLER, tenant, JOB)
        )
    return decision, counted


@pytest.mark.parametrize("action", [None, "get", "list", "watch", "cancel"])
def test_a_difference_is_counted_and_told_and_changes_nothing(action):
    """For a submit and for every call after it."""
    other = Grant("other", "principal/somebody", ("*",))
    decision, counted = asked((ALLOW,), (other,), action=action)

    assert decision.allowed
    assert (decision.shadow.allowed, decision.shadow.failed.name) == (False, "SUBJECT")
    assert counted == ["denies"]


def test_what_would_be_allowed_is_still_denied():
    """The other way round."""
    decision, counted = asked((ALLOW, DENY), (ALLOW,))

    assert not decision.allowed
    assert (decision.shadow.allowed, decision.shadow.rule) == (True, "live")
    assert counted == ["allows"]


@pytest.mark.parametrize("shadow", [None, (ALLOW,)])
def test_where_nothing_differs_nothing_is_said(shadow):
    """Nor where nothing is on trial."""
    decision, counted = asked((ALLOW,), shadow)

    assert (decision.allowed, decision.shadow, counted) == (True, None, [])


@pytest.mark.parametrize("shadow", [(BROKEN,), ()])
def test_a_failure_of_the_policy_on_trial_never_touches_the_call(shadow, capsys):
    """It is counted each time and logged once."""
    decision, counted = asked((ALLOW,), shadow, times=3)

    assert (decision.allowed, decision.shadow) == (True, None)
    assert counted == ["failed"] * 3
    assert capsys.readouterr().out.count("policy on trial cannot be asked") == 1


def test_a_job_that_is_only_explained_is_not_counted():
    """Only live calls say what a change would do to them."""
    counted = []
    tenant = a_tenant(grants=(ALLOW,), shadow_grants=(DENY,))
    authorization = Authorization(lambda: directory_of([tenant]), counted.append)

    assert authorization.explain(CALLER, tenant, JOB).allowed
    assert counted == []
