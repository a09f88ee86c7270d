"""A job costs what the most particular price says, to the next micro-unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ims_gateway.quota.prices import NO_PRICES, Price, PriceList

PRICES = PriceList(
    "CNY",
    {
        ("*", "*"): Price(flat=5),
        ("cover", "*"): Price(flat=7),
        ("video_detext", "*"): Price(flat=1, per_minute=60),
        ("video_detext", "new"): Price(per_minute=90),
    },
)


@pytest.mark.parametrize(
    ("algorithm", "model", "minutes", "cost"),
    [
        ("video_h2v", "", None, 5),
        ("cover", "", 3, 7),
        ("video_detext", "", 2, 121),
        ("video_detext", "new", 2, 180),
        ("video_detext", "old", 0.5, 31),
        ("video_detext", "", None, 1),
    ],
)
def test_the_most_particular_price_counts(algorithm, model, minutes, cost):
    """Of a model, of an algorithm, or of any; without a duration, the flat part."""
    duration = None if minutes is None else round(minutes * 60_000_000)

    assert PRICES.cost(algorithm, model, duration) == cost


@pytest.mark.parametrize(
    ("algorithm", "prices"),
    [
        ("cover", {"*": Price(flat=7)}),
        ("video_h2v", {"*": Price(flat=5)}),
        ("video_detext", {"*": Price(flat=1, per_minute=60), "new": Price(per_minute=90)}),
    ],
)
def test_an_algorithm_has_a_price_for_the_rest_and_those_of_models(algorithm, prices):
    """That of any algorithm counts where it has none of its own."""
    assert PRICES.of(algorithm) == prices


def test_without_a_list_nothing_has_a_price():
    """And what has none costs nothing."""
    assert NO_PRICES.of("cover") == {}


@given(st.integers(0, 10**9), st.integers(1, 7 * 24 * 3600 * 10**6))
def test_no_part_of_a_unit_is_given_away(per_minute, duration):
    """A cost is never less than the exact one, and less than a unit more."""
    exact = per_minute * duration
    cost = Price(per_minute=per_minute).cost(duration) * 60_000_000

    assert 0 <= cost - exact < 60_000_000


def test_without_a_price_list_nothing_costs_anything():
    """Jobs are counted all the same."""
    assert NO_PRICES.cost("cover", "", None) == 0
    assert NO_PRICES.price("cover") is None
