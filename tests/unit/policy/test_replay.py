"""What a change would newly allow or deny, by the calls on record."""

import json

import pytest

from ims_gateway.policy.grant import Grant
from ims_gateway.policy.replay import Verdict, replay
from tests.tenants import a_tenant, directory_of

ALLOW = Grant("acme.yaml#grants[0]", "role/editor", ("submit",), read=("oss://a/*",), write=("*",))
ROLES = {"principal/farm": ("role/editor",)}


def directory(*grants, name="acme", roles=ROLES):
    """Return a directory with one tenant."""
    return directory_of([a_tenant(name, grants=grants, roles=roles)])


def line(object_="oss://a/1", decision_id="d-1", **members):
    """Return a line of the decision log."""
    policy = {
        "subject": "principal/farm",
        "action": "submit",
        "algorithm": "cover",
        "priority": None,
        "model": "",
        "pipeline": "",
        "template": "",
        "objects": [{"access": "read", "object": object_, "allowed": True}],
    }
    record = {"tenant": "acme", "decision_id": decision_id, "policy": policy | members}
    return json.dumps(record) + "\n"


def test_the_same_rules_give_the_same_answers():
    """Whatever was asked."""
    found = replay([line(), line("oss://b/1")], directory(ALLOW), directory(ALLOW))

    assert (found.asked, found.changes) == (2, {})


def test_what_a_change_denies_is_grouped_with_its_reason():
    """Calls that change alike are one group, with some of their objects."""
    narrow = Grant("acme.yaml#grants[0]", "role/editor", ("submit",), read=("oss://a/2*",))
    lines = [line(f"oss://a/{number}", f"d-{number}") for number in range(10)]
    found = replay(lines, directory(ALLOW), directory(narrow))
    ((group, change),) = found.changes.items()

    assert (group.subject, group.action, group.algorithm) == ("principal/farm", "submit", "cover")
    assert group.before == Verdict(allowed=True, rule="acme.yaml#grants[0]")
    assert group.after == Verdict(allowed=False, dimension="READ")
    assert change.calls == 9
    assert change.decision_ids == ["d-0", "d-1", "d-3"]
    assert change.objects == ["read oss://a/0", "read oss://a/1", "read oss://a/3"]


def test_what_a_change_allows_is_found_too():
    """Ceilings are asked with what the job had asked for."""
    before = Grant("r", "role/editor", ("submit",), read=("*",), priority=(1, 3))
    lines = [line(priority=9), line(priority=2)]
    found = replay(lines, directory(before), directory(ALLOW))
    ((group, change),) = found.changes.items()

    assert (group.before.dimension, group.after.allowed, change.calls) == ("CEILING", True, 1)


def test_roles_are_those_of_the_files():
    """A role that somebody loses denies what it allowed."""
    found = replay([line()], directory(ALLOW), directory(ALLOW, roles={}))

    assert [group.after.dimension for group in found.changes] == ["SUBJECT"]


def test_a_tenant_that_is_gone_denies_what_it_allowed():
    """Said as such."""
    found = replay([line()], directory(ALLOW), directory(ALLOW, name="other"))

    assert [group.after.rule for group in found.changes] == ["no such tenant"]


def test_a_record_of_many_calls_counts_as_many():
    """A flood of denials is one record."""
    record = json.loads(line("oss://b/1")) | {"count": 500}
    wide = Grant("r", "role/editor", ("submit",), read=("*",))
    found = replay([json.dumps(record)], directory(ALLOW), directory(wide))

    assert [change.calls for change in found.changes.values()] == [500]


@pytest.mark.parametrize("bad", ["{", "[]", "3", '{"policy": {}}', line(subject="")])
def test_a_line_of_no_sense_is_counted_and_ends_nothing(bad):
    """A log that was cut off is of use all the same."""
    found = replay([bad, line(), "\n"], directory(ALLOW), directory(ALLOW))

    assert (found.unreadable, found.asked) == (1, 1)


def test_records_without_a_decision_are_left_out():
    """They were refused before the policy was asked."""
    found = replay(['{"tenant": "acme"}', '{"lost_records": 3}'], directory(ALLOW), directory())

    assert (found.without_question, found.asked) == (2, 0)
