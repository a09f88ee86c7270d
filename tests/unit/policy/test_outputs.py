"""The service fills the placeholders of an output's name; a deny holds for what comes out."""

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ims_gateway.policy.decision import Ask, Dimension
from ims_gateway.policy.enforcer import TenantPolicy
from ims_gateway.policy.grant import Grant
from ims_gateway.policy.matching import covers

ALLOW = Grant("allow", "principal/a", ("submit",), write=("oss://out/*",))


def answer(output, *denied):
    """Return the decision about one output, with everything below oss://out/ but some allowed."""
    deny = Grant("deny", "principal/a", ("submit",), write=denied, effect="deny")
    ask = Ask("principal/a", "submit", "cover", (("write", output),))
    return TenantPolicy("v1", (ALLOW, deny), {}).decide(ask)


@pytest.mark.parametrize(
    ("output", "denied"),
    [
        ("oss://out/{source}/a.png", "oss://out/secret/*"),
        ("oss://out/{source}", "oss://out/secret*"),
        ("oss://out/{source}.png", "oss://out/plan.png"),
        ("oss://out/s{source}t/{sequenceId}.png", "oss://out/secret/*"),
        ("oss://out/{source}{source}.png", "oss://out/s*t.png"),
        ("oss://out/{resultType}.wav", "oss://out/vocals.*"),
        ("oss://out/a-{timestamp}.png", "oss://out/a-17*"),
    ],
)
def test_a_deny_is_about_what_a_placeholder_may_become(output, denied):
    """{source} is the name of a file that the caller chose."""
    decision = answer(output, denied)

    assert (decision.allowed, decision.failed) == (False, Dimension.DENY)


@pytest.mark.parametrize(
    ("output", "denied"),
    [
        ("oss://out/ims/{source}-{timestamp}-{sequenceId}.png", "oss://out/secret/*"),
        ("oss://out/{source}.png", "oss://out/*.wav"),
        ("oss://out/{source}.png", "oss://other/*"),
        ("oss://out/x{source}.png", "oss://out/secret/*"),
        ("oss://out/ims/{source}.png", "oss://*-vault/*"),
        ("oss://out/{source}.png", "oss://out/*/*"),
    ],
)
def test_a_deny_is_not_about_what_no_placeholder_becomes(output, denied):
    """Else a deny of one folder would be one of every output with a placeholder."""
    assert answer(output, denied).allowed


def test_two_outputs_that_meet_other_denies_are_told_apart():
    """An answer is remembered by the patterns that meet the object."""
    deny = Grant("deny", "principal/a", ("submit",), write=("oss://out/secret/*",), effect="deny")
    policy = TenantPolicy("v1", (ALLOW, deny), {})
    asked = ["oss://out/{source}/a.png", "oss://out/ims/a.png", "oss://out/{source}/b.png"]
    asks = [Ask("principal/a", "submit", "cover", (("write", output),)) for output in asked]

    assert [policy.decide(ask).allowed for ask in asks] == [False, True, False]


def test_a_new_media_asset_is_no_placeholder():
    """It is an object of its own."""
    assert not covers("write", "media:{new}", "media:feed*", "deny")
    assert covers("write", "media:{new}", "media:*", "deny")


FILLS = ["".join(letters) for length in range(4) for letters in product("ab", repeat=length)]
OUTPUTS = st.lists(st.sampled_from("ab{"), max_size=4).filter(lambda it: it.count("{") <= 2)


@given(st.text("ab*", max_size=5), OUTPUTS)
def test_whatever_name_comes_out_a_deny_of_it_is_about_the_output(pattern, output):
    """All names are tried that short texts in the place of placeholders make."""
    glob = re.compile(re.escape(f"oss://{pattern}").replace(r"\*", ".*"))
    names = product(*(FILLS if part == "{" else [part] for part in output))
    denied = any(glob.fullmatch(f"oss://{''.join(name)}") for name in names)
    written = f"oss://{''.join(output)}".replace("{", "{source}")

    assert covers("write", written, f"oss://{pattern}", "deny") >= denied
