"""How values are spelled on the wire."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ims_gateway.algorithms.spelling import compact_json, number

FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.integers() | FINITE | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (5.0, "5"),
        (5, "5"),
        (-20, "-20"),
        (0.3, "0.3"),
        (25.125, "25.125"),
        (0.00001, "0.00001"),
        (-1.5e-7, "-0.00000015"),
        (1e16, "10000000000000000"),
        (1.5e300, str(int(1.5e300))),
        (True, "1"),
        (False, "0"),
    ],
)
def test_a_number_has_no_trailing_zero_and_no_exponent(value, text):
    """Readers of name=value lists need not know exponents, and 5.0 is 5 on the API page."""
    assert number(value) == text


@given(FINITE)
def test_a_number_keeps_its_value(value):
    """The spelling is exact: what is read back is the number that was written."""
    text = number(value)

    assert float(text) == value
    assert set(text) <= set("-.0123456789")
    assert not text.endswith(".0")


@given(JSON)
def test_compact_json_holds_the_value_and_no_spaces(value):
    """A JSON reader gets the same value, and nothing stands between the tokens."""
    text = compact_json(value)

    assert same(json.loads(text), value)
    assert len(text) <= len(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) or (
        "e-" in json.dumps(value) or "e+" in json.dumps(value)
    )


def test_compact_json_leaves_utf8_as_it_is():
    """The SDK does not escape UTF-8; it escapes what JSON demands."""
    assert compact_json({"名": ['测"试', "a\nb", "ü"]}) == '{"名":["测\\"试","a\\nb","ü"]}'


def same(left, right):
    """Say whether two JSON values are equal, where 5 is 5.0."""
    if isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in right)
    if isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(right, float):
        return math.isclose(left, right, rel_tol=0, abs_tol=0)
    return left == right
