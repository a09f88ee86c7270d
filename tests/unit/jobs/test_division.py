"""An account is divided whole, by weight where it is short, and by need where it is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ims_gateway.jobs.division import RESERVE, Claim, divide, divide_whole

CLAIMS = st.lists(
    st.builds(Claim, weight=st.integers(0, 50), wanted=st.floats(0, 1000)), min_size=1, max_size=8
)


def test_a_lone_process_gets_everything():
    """Whatever it wants."""
    assert divide(30.0, [Claim(0, 0.0)]) == [30.0]
    assert divide_whole(64, [Claim(5, 1000)], turn=7) == [64]


def test_where_it_is_short_the_weights_decide():
    """One process with the flood of one tenant, another with the calls of nine."""
    assert divide(10.0, [Claim(1, 1000), Claim(9, 9)]) == pytest.approx([1, 9])


def test_what_one_does_not_want_is_the_others():
    """All but a reserve for the call that comes next."""
    assert divide(100.0, [Claim(1, 1000), Claim(9, 0)]) == pytest.approx([95, 5])
    assert divide(100.0, [Claim(1, 20), Claim(1, 40)]) == pytest.approx([40, 60])


def test_what_cannot_be_split_goes_round():
    """With one place and three processes, each has its turn."""
    claims = [Claim(1, 5)] * 3
    turns = [divide_whole(1, claims, turn) for turn in range(3)]

    assert sorted(turns) == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


@given(st.floats(0.1, 10_000), CLAIMS)
def test_the_shares_are_the_whole(total, claims):
    """Neither more, nor less, nor anything below nothing."""
    shares = divide(total, claims)

    assert sum(shares) == pytest.approx(total)
    assert min(shares) >= 0


@given(st.floats(0.1, 10_000), CLAIMS)
def test_nobody_has_more_than_it_wants_while_a_heavier_one_lacks_something(total, claims):
    """Weighted max-min: by weight, whoever lacks has as much as anybody."""
    shares = divide(total, claims)
    least = RESERVE * total / len(claims)
    for claim, share in zip(claims, shares, strict=True):
        if share < max(claim.wanted, least) * (1 - 1e-9):
            per_weight = share / max(1, claim.weight)
            for other, others_share in zip(claims, shares, strict=True):
                assert others_share / max(1, other.weight) <= per_weight * (1 + 1e-6)


@given(st.integers(1, 500), CLAIMS, st.integers(0, 100))
def test_whole_shares_are_the_whole(total, claims, turn):
    """Each within one of its exact share."""
    shares = divide_whole(total, claims, turn)

    assert sum(shares) == total
    for share, exact in zip(shares, divide(total, claims), strict=True):
        assert abs(share - exact) < 1 + 1e-6
