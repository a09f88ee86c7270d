"""What a tenant's policy answers: casbin's pitfalls, dimensions, roles, ceilings, patterns."""

import dataclasses
import itertools
import re

import casbin
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ims_gateway.policy.decision import Ask, Dimension
from ims_gateway.policy.enforcer import (
    REMEMBERED,
    PolicyError,
    TenantPolicy,
    _enforcer,
    _question,
)
from ims_gateway.policy.grant import Grant
from ims_gateway.policy.matching import fits, within
from ims_gateway.policy.policies import Policies
from tests.tenants import a_tenant

IN = "oss://acme-in/film.mp4"
OUT = "oss://acme-out/film.png"
GRANT = Grant(
    rule="acme.yaml#grants[0]",
    subject="principal/farm",
    actions=("submit",),
    algorithms=("cover", "video_clip"),
    read=("oss://acme-in/*",),
    write=("oss://acme-out/*",),
)
ASK = Ask("principal/farm", "submit", "cover", (("read", IN), ("write", OUT)))


def grant(rule="r", **changes):
    """Return the grant above, changed."""
    return dataclasses.replace(GRANT, rule=rule, **changes)


def ask(**changes):
    """Return the question above, changed."""
    return dataclasses.replace(ASK, **changes)


def policy(*grants, roles=None):
    """Return a tenant's policy."""
    return TenantPolicy("v1", grants or (GRANT,), roles or {})


def decide(question, *grants, roles=None):
    """Ask a policy of these grants."""
    return policy(*grants, roles=roles).decide(question)


def test_a_job_is_allowed_when_a_grant_covers_all_of_it():
    """The answer names the policy's version and the rule for each object."""
    decision = decide(ASK)

    assert decision.allowed
    assert (decision.failed, decision.rule, decision.policy_version) == (None, GRANT.rule, "v1")
    assert [(each.access, each.object, each.rule) for each in decision.objects] == [
        ("read", IN, GRANT.rule),
        ("write", OUT, GRANT.rule),
    ]


def test_a_policy_without_grants_is_refused():
    """Casbin would allow what an empty policy says nothing about."""
    with pytest.raises(PolicyError):
        TenantPolicy("v1", (), {})


@pytest.mark.parametrize(
    "changes",
    [
        {"rule": ""},
        {"subject": ""},
        {"effect": ""},
        *({name: ("x", "")} for name in ("actions", "algorithms", "read", "write")),
        *({name: ("",)} for name in ("models", "pipelines", "templates")),
    ],
    ids=repr,
)
def test_a_grant_with_an_empty_text_is_refused(changes):
    """An empty text in a rule could match the empty text of a question."""
    with pytest.raises(PolicyError):
        policy(dataclasses.replace(GRANT, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": ""},
        {"action": ""},
        {"algorithm": ""},
        {"objects": (("", IN),)},
        {"objects": (("read", ""),)},
        {"objects": (("read", IN), ("write", ""))},
    ],
    ids=repr,
)
def test_a_question_with_an_empty_text_gets_no_answer(changes):
    """It is an error even where a rule allows everything."""
    everything = grant(actions=("*",), algorithms=("*",), read=("*",), write=("*",))
    with pytest.raises(PolicyError):
        decide(ask(**changes), everything)


def test_a_question_about_no_object_gets_no_answer():
    """Of no objects, every one is allowed; so nobody may ask that."""
    with pytest.raises(PolicyError):
        decide(ask(objects=()))


def test_a_row_that_casbin_cannot_evaluate_is_found_when_the_policy_is_loaded():
    """One short row breaks every question of the tenant, not only its own."""
    loaded = policy()
    loaded._enforcer.add_policy("a", "short", "row")

    with pytest.raises(RuntimeError):
        loaded.decide(ASK)
    with pytest.raises(PolicyError, match=re.escape(GRANT.rule)):
        loaded._try_every_row()


def test_casbin_itself_allows_empty_texts_under_an_empty_policy():
    """The anomaly that empty policies and empty texts are refused for."""
    nothing = ["", "", "", "", "", "-", "", "", ""]

    assert _enforcer((), {}).enforce(*nothing)
    assert not _enforcer((), {}).enforce("principal/farm", *nothing[1:])


def test_rules_are_walked_in_their_order_by_the_plain_enforcer():
    """FastEnforcer filters rules into sets of their own; a cached one does not exist."""
    assert type(policy()._enforcer) is casbin.Enforcer
    assert not hasattr(casbin, "CachedEnforcer")


def test_a_tenant_s_questions_walk_no_other_tenant_s_rules():
    """Casbin looks at every rule it knows for every question."""
    policies = Policies()
    tenants = [
        a_tenant(f"t{number}", grants=(grant(f"t{number}.yaml#grants[0]"),)) for number in range(20)
    ]
    walked = {
        tenant.name: [row[0] for row in policies.of(tenant)._enforcer.get_policy()]
        for tenant in tenants
    }

    assert walked == {tenant.name: [f"{tenant.name}.yaml#grants[0]"] for tenant in tenants}


@pytest.mark.parametrize("at", [0, 1])
def test_every_row_is_tried_to_its_end_before_a_policy_is_used(at):
    """A ceiling that is no range is found at once, not by the first caller with a priority."""
    rows = [grant("good"), grant("good, too")]
    rows.insert(at, grant("bad", priority=("low", "high")))

    with pytest.raises(PolicyError):
        policy(*rows)


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))], ids=str)
def test_a_deny_wins_wherever_it_stands(order):
    """Neither an allow before it nor one after it helps, and the deny is named."""
    rows = [grant("first"), grant("deny", effect="deny", read=("*",)), grant("last")]
    decision = decide(ASK, *(rows[index] for index in order))

    assert not decision.allowed
    assert (decision.failed, decision.rule) == (Dimension.DENY, "deny")


def test_a_deny_hits_the_objects_it_names_and_no_other():
    """One object that is denied refuses the whole job, and the others are answered too."""
    decision = decide(ASK, GRANT, grant("deny", effect="deny", write=("*",), read=()))

    assert not decision.allowed
    assert [each.allowed for each in decision.objects] == [True, False]
    assert decision.objects[1].rule == decision.rule == "deny"


def test_a_deny_alone_allows_nothing():
    """What no rule denies still needs a rule that allows it."""
    decision = decide(ASK, grant(effect="deny", subject="principal/other"))

    assert (decision.allowed, decision.failed, decision.rule) == (False, Dimension.SUBJECT, "")


def test_the_order_of_rows_decides_nothing():
    """The same rules in any order give the same answers."""
    rows = (
        grant("a", read=("oss://acme-in/public/*",)),
        grant("b", algorithms=("video_clip",)),
        grant("c", effect="deny", read=("oss://acme-in/secret*",)),
        grant("d"),
    )
    questions = [
        ask(algorithm=algorithm, objects=(("read", f"oss://acme-in/{key}"),))
        for algorithm in ("cover", "video_clip", "video_h2v")
        for key in ("public/a", "secret/b", "c")
    ]
    answers = {
        tuple(loaded.decide(question).allowed for question in questions)
        for loaded in (policy(*order) for order in itertools.permutations(rows))
    }

    assert len(answers) == 1


FAILURES = {
    Dimension.SUBJECT: ask(subject="principal/other"),
    Dimension.ACTION: ask(action="cancel"),
    Dimension.ALGORITHM: ask(algorithm="video_h2v"),
    Dimension.READ: ask(objects=(("read", "oss://other/film.mp4"), ("write", OUT))),
    Dimension.WRITE: ask(objects=(("read", IN), ("write", "oss://acme-in/film.png"))),
    Dimension.CEILING: ask(priority=9),
    Dimension.DENY: ask(objects=(("read", "oss://acme-in/secret/film.mp4"), ("write", OUT))),
}


@pytest.mark.parametrize("dimension", Dimension, ids=lambda each: each.name)
def test_a_refusal_names_the_dimension_that_did_not_fit(dimension):
    """Each dimension of the contract is the answer to some question."""
    secret = grant("deny", effect="deny", read=("oss://acme-in/secret/*",))
    decision = decide(FAILURES[dimension], grant(priority=(1, 5)), secret)

    assert not decision.allowed
    assert decision.failed is dimension


def test_the_dimension_is_that_of_the_grant_that_comes_closest():
    """A grant that fails late counts for more than one that fails at once."""
    late = grant("late", priority=(1, 2))
    decision = decide(ask(priority=9), grant("early", subject="principal/other"), late)

    assert decision.failed is Dimension.CEILING


def test_the_refusal_of_several_objects_names_the_first():
    """Dimension and rule of a decision belong to its first refused object."""
    question = ask(objects=(("read", IN), ("write", "oss://x/1"), ("read", "oss://x/2")))

    assert decide(question).failed is Dimension.WRITE


def test_a_role_gives_its_grants_to_its_principals_alone():
    """Roles are those of the tenant's file; nobody has one by its name."""
    roles = {
        "principal/farm": ("role/editor",),
        "principal/guest": ("role/viewer",),
        "principal/none": (),
    }
    granted = grant(subject="role/editor")

    assert decide(ASK, granted, roles=roles).allowed
    for subject in ("principal/guest", "principal/none", "principal/unheard-of"):
        decision = decide(ask(subject=subject), granted, roles=roles)
        assert (decision.allowed, decision.failed) == (False, Dimension.SUBJECT)


def test_a_principal_has_the_grants_of_all_its_roles():
    """A deny for one role holds although another role allows."""
    roles = {"principal/farm": ("role/a", "role/b")}
    allow = grant("allow", subject="role/a")
    deny = grant("deny", subject="role/b", effect="deny")

    assert decide(ASK, allow, roles=roles).allowed
    assert decide(ASK, allow, deny, roles=roles).rule == "deny"


CEILINGS = [
    ({"priority": (3, 5)}, {"priority": 3}, True),
    ({"priority": (3, 5)}, {"priority": 5}, True),
    ({"priority": (3, 5)}, {"priority": 2}, False),
    ({"priority": (3, 5)}, {"priority": 6}, False),
    ({"priority": (3, 10)}, {"priority": 10}, True),
    ({"priority": (3, 5)}, {"priority": None}, True),
    ({"priority": None}, {"priority": 10}, True),
    *(
        case
        for ceiling, name in (("models", "model"), ("pipelines", "pipeline"))
        for case in (
            ({ceiling: ("m-1", "m-2*")}, {name: "m-1"}, True),
            ({ceiling: ("m-1", "m-2*")}, {name: "m-20"}, True),
            ({ceiling: ("m-1", "m-2*")}, {name: "m-10"}, False),
            ({ceiling: ("m-1", "m-2*")}, {name: ""}, False),
            ({ceiling: ("m-1", "-")}, {name: ""}, True),
            ({ceiling: ("*",)}, {name: ""}, True),
        )
    ),
    ({"templates": ("t-1",)}, {"template": "t-1"}, True),
    ({"templates": ("t-1",)}, {"template": "t-2"}, False),
]


@pytest.mark.parametrize(("ceilings", "asked", "allowed"), CEILINGS)
def test_a_ceiling_limits_what_may_be_asked_for(ceilings, asked, allowed):
    """Bounds are inclusive; a priority that is not asked for always lies within."""
    decision = decide(ask(**asked), grant(**ceilings))

    assert decision.allowed == allowed
    assert decision.failed is (None if allowed else Dimension.CEILING)


def test_priorities_are_compared_as_numbers():
    """Ten is more than nine."""
    assert within("10", "9-10")
    assert not within("10", "2-9")


@pytest.mark.parametrize(
    ("pattern", "value", "fitting"),
    [
        ("oss://a.b/c", "oss://a.b/c", True),
        ("oss://a.b/c", "oss://axb/c", False),
        ("a?c", "abc", False),
        ("a?c", "a?c", True),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("a+", "aa", False),
        ("(a|b)", "a", False),
        ("a|b", "a", False),
        ("a|b", "a|b", True),
        ("^a$", "a", False),
        (r"\d", "7", False),
        (r"\d", r"\d", True),
        ("{a}", "{a}", True),
        ("a", "ab", False),
        ("a", "ba", False),
        ("a", "a\n", False),
        ("a", "A", False),
        ("", "", True),
        ("a*", "a", True),
        ("a*", "a/b\nc", True),
        ("*a", "ba", True),
        ("a*b*c", "aXbYc", True),
        ("a*b*c", "acb", False),
        ("a*a", "a", False),
        ("**", "", True),
        ("视频*", "视频 1", True),
    ],
)
def test_only_the_star_of_a_pattern_is_special(pattern, value, fitting):
    """Every other character stands for itself, and the whole text has to match."""
    assert fits(value, pattern) == fitting


def glob(value, pattern):
    """Match as the definition of a glob says, with no regular expression."""
    if not pattern:
        return not value
    if pattern[0] == "*":
        return any(glob(value[at:], pattern[1:]) for at in range(len(value) + 1))
    return value[:1] == pattern[0] and glob(value[1:], pattern[1:])


@settings(deadline=None)
@given(st.text("ab.", max_size=8), st.lists(st.text("ab.*", min_size=1, max_size=6), min_size=1))
def test_patterns_match_as_globs_do(value, patterns):
    """One of several patterns is enough."""
    assert fits(value, "\n".join(patterns)) == any(glob(value, each) for each in patterns)


def test_a_caller_s_key_cannot_make_a_pattern_slow():
    """With stars that are tried again and again, this would take longer than anybody waits."""
    assert not fits("oss://b/" + "a" * 1200, "oss://b/" + "*a" * 12 + "*b")


# A small world, in which grants and questions meet often.
OBJECTS = ("oss://a/x", "oss://a/y", "oss://b/x", "media:1")
PATTERNS = st.lists(
    st.sampled_from(("oss://a/*", "oss://*", "*x", "media:1", "*")), max_size=2, unique=True
).map(tuple)
SOME = {"min_size": 1, "max_size": 2, "unique": True}
SUBJECTS = ("principal/a", "principal/b", "role/r", "role/s")
CHOSEN = ("m", "*", "-")
GRANTS = st.builds(
    Grant,
    rule=st.just("r"),
    subject=st.sampled_from(SUBJECTS),
    actions=st.lists(st.sampled_from(("submit", "get", "*")), **SOME).map(tuple),
    algorithms=st.lists(st.sampled_from(("cover", "video_*", "*")), **SOME).map(tuple),
    read=PATTERNS,
    write=PATTERNS,
    priority=st.sampled_from((None, (1, 5), (5, 10))),
    models=st.lists(st.sampled_from(CHOSEN), **SOME).map(tuple),
    pipelines=st.sampled_from((("*",), ("p",))),
    templates=st.sampled_from((("*",), ("t", "-"))),
    effect=st.sampled_from(("allow", "allow", "deny")),
)
ASKS = st.builds(
    Ask,
    subject=st.sampled_from(SUBJECTS[:2]),
    action=st.sampled_from(("submit", "get")),
    algorithm=st.sampled_from(("cover", "video_clip", "-")),
    objects=st.lists(
        st.tuples(st.sampled_from(("read", "write", "none")), st.sampled_from(OBJECTS)),
        min_size=1,
        max_size=3,
    ).map(tuple),
    priority=st.sampled_from((None, 1, 5, 9)),
    model=st.sampled_from(("", "m", "n")),
    pipeline=st.sampled_from(("", "p")),
    template=st.sampled_from(("", "t", "u")),
)
ROLES = st.dictionaries(
    st.sampled_from(SUBJECTS[:2]),
    st.lists(st.sampled_from(SUBJECTS[2:]), unique=True).map(tuple),
)


def numbered(grants):
    """Give each grant a rule of its own."""
    return tuple(dataclasses.replace(each, rule=f"r{n}") for n, each in enumerate(grants))


@settings(max_examples=40, deadline=None)
@given(st.lists(GRANTS, min_size=1, max_size=6), ROLES, st.lists(ASKS, min_size=1, max_size=5))
@example(
    [grant(read=("oss://a/x",), write=("*",)), grant(read=("oss://a/*",), write=("*",))],
    {},
    [ask(objects=(("read", "oss://a/x"), ("read", "oss://a/y"), ("read", "oss://b/x")))],
)
def test_remembered_answers_equal_what_casbin_says_when_it_is_asked_anew(grants, roles, asks):
    """One policy that is asked many things answers as a fresh enforcer does to each object."""
    grants = numbered(grants)
    remembering = TenantPolicy("v1", grants, roles)

    for question in asks + asks:
        for answer in remembering.decide(question).objects:
            asked = _question(question, answer.access, answer.object)
            allowed, row = _enforcer(grants, roles).enforce_ex(*asked)
            assert (answer.allowed, answer.rule) == (allowed, row[0] if row else "")


@settings(max_examples=60, deadline=None)
@given(st.lists(GRANTS, min_size=1, max_size=6), ROLES, ASKS)
def test_a_policy_means_some_allow_and_no_deny(grants, roles, question):
    """The answer is what the definition of a grant says, and a refusal says why."""
    grants = numbered(grants)
    decision = TenantPolicy("v1", grants, roles).decide(question)
    subjects = {question.subject, *roles.get(question.subject, ())}

    for answer in decision.objects:
        matching = {
            each.rule: each.effect
            for each in grants
            if each.subject in subjects and matches(each, question, answer)
        }
        denied = "deny" in matching.values()
        assert answer.allowed == ("allow" in matching.values() and not denied)
        assert answer.rule == "" if not matching else answer.rule in matching
        assert (answer.failed is Dimension.DENY) == (denied and "allow" in matching.values())
        assert (answer.failed is None) == answer.allowed
    assert decision.allowed == all(answer.allowed for answer in decision.objects)


def matches(each, question, answer):
    """Say whether a grant is about the question, for one object."""
    patterns = {"read": each.read, "write": each.write, "none": ("*",)}[answer.access]
    low, high = each.priority or (1, 10)
    return (
        among(question.action, each.actions)
        and among(question.algorithm, each.algorithms)
        and among(answer.object, patterns)
        and (question.priority is None or low <= question.priority <= high)
        and among(question.model or "-", each.models)
        and among(question.pipeline or "-", each.pipelines)
        and among(question.template or "-", each.templates)
    )


def among(value, patterns):
    """Say whether one of the patterns matches."""
    return any(glob(value, pattern) for pattern in patterns)


def test_answers_are_remembered_up_to_a_bound():
    """Callers who ask ever new things take up no more memory."""
    loaded = policy(grant(models=("m-*",)))
    loaded._remembered.update({(number,): (True, "r", None) for number in range(REMEMBERED)})
    for number in range(3):
        assert loaded.decide(ask(model=f"m-{number}", objects=(("read", IN),))).allowed

    assert 0 < len(loaded._remembered) <= REMEMBERED


def test_a_second_question_alike_does_not_ask_casbin():
    """Objects that the same patterns match share one answer."""
    loaded = policy()
    loaded.decide(ASK)
    asked = len(loaded._remembered)
    loaded.decide(ask(objects=(("read", "oss://acme-in/b"), ("write", "oss://acme-out/c"))))

    assert len(loaded._remembered) == asked == 2
