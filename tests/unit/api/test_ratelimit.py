"""Trailing metadata says what is left, in the form of the RateLimit header fields."""

from ims_gateway.api.ratelimit import MOST_LIMITS, of_admission, of_refusal
from ims_gateway.errors import LimitBreach, QuotaExceeded
from ims_gateway.quota.charges import LimitState

NOW = 1_800_000_000_000_000
DAY = LimitState("daily", "submit/day", 100, 40, NOW + 3_600_000_001, window_seconds=86_400)


def test_what_is_nearest_to_its_end_goes_first():
    """And seconds are rounded up: to come back a moment too early is of no use."""
    near = LimitState("near", "submit/rate", 10, 1, NOW + 1, window_seconds=2)

    assert dict(of_admission((DAY, near), NOW)) == {
        "ratelimit-policy": '"near";q=10;w=2, "daily";q=100;w=86400',
        "ratelimit": '"near";r=1;t=1, "daily";r=40;t=3601',
    }


def test_a_limit_on_trial_is_not_told():
    """It refuses nothing, and a caller need not heed it."""
    trial = LimitState("trial", "submit/day", 1, -1, NOW, shadow=True)

    assert of_admission((trial,), NOW) == ()


def test_a_refusal_says_when_to_come_back_where_that_helps():
    """And nothing where it does not."""
    refusal = QuotaExceeded(
        (
            LimitBreach("daily", "submit/day", 9, "acme", 0.5),
            LimitBreach("none", "submit/day", 0, "acme", None),
        )
    )
    assert dict(of_refusal(refusal)) == {
        "ratelimit-policy": '"daily";q=9, "none";q=0',
        "ratelimit": '"daily";r=0;t=1, "none";r=0',
    }


def test_trailers_stay_small_however_many_limits_there_are():
    """They share 8 KiB with the status."""
    trailers = of_admission((DAY,) * 64, NOW)

    assert [value.count('"daily"') for _, value in trailers] == [MOST_LIMITS, MOST_LIMITS]
