"""A token leads on in the list that it was made for, and in no other."""

import base64

import pytest

from ims_gateway.errors import InvalidRequest
from ims_gateway.page_tokens import position, token

LAST = 2**63 - 1


@pytest.mark.parametrize(("end", "first"), [(7, LAST), (0, LAST), ("globex", ""), ("名", "")])
def test_a_token_is_read_as_it_was_made(end, first):
    """Numbers and names."""
    assert position(token({"a": 1}, end), {"a": 1}, first) == end


def test_a_list_without_a_token_begins_at_its_beginning():
    """Whatever that is."""
    assert position("", "tenants", "") == ""
    assert position("", {}, LAST) == LAST


@pytest.mark.parametrize(
    "text",
    [
        token({"a": 2}, 7),
        token({"a": 1}, "7"),
        token({"a": 1}, -1),
        token({"a": 1}, LAST + 1),
        token({"a": 1}, 7)[:-4],
        "nonsense",
        "ü",
        base64.urlsafe_b64encode(b"[]").decode(),
        base64.urlsafe_b64encode(b"\xff").decode(),
        base64.urlsafe_b64encode(b"[" * 5000).decode(),
    ],
)
def test_every_other_token_is_refused(text):
    """That of another list, a position that is none, and what is no token."""
    with pytest.raises(InvalidRequest) as raised:
        position(text, {"a": 1}, LAST)

    assert [violation.path for violation in raised.value.violations] == ["page_token"]
