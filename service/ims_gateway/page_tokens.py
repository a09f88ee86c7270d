"""Tokens of the next page, bound to what their list asks for.

They are no secret: a forged one finds nothing that its caller could not list anyway.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TypeVar

from ims_gateway.errors import InvalidRequest, Violation

Position = TypeVar("Position", int, str)


def token(asked: object, end: int | str) -> str:
    """Return the token of a position in the list of what is `asked`, which JSON can spell."""
    return base64.urlsafe_b64encode(json.dumps([_digest(asked), end]).encode()).decode()


def position(token: str, asked: object, first: Position) -> Position:
    """Return where the page of the token begins; without a token, `first`.

    Raises InvalidRequest for the token of another list, or of none.
    """
    if not token:
        return first
    try:
        digest, end = json.loads(base64.urlsafe_b64decode(token))
        if digest == _digest(asked) and type(end) is type(first):
            return _within(end, first)
    except (ValueError, TypeError, RecursionError):
        pass
    fault = "is not a next_page_token of this list: what it asks for must stay as it was"
    raise InvalidRequest((Violation("page_token", "page_token", fault),))


def _within(end: Position, first: Position) -> Position:
    """Return a position that a database can take. Raises ValueError for a number that is none."""
    if isinstance(end, int) and isinstance(first, int) and not 0 <= end <= first:
        raise ValueError("no position")
    return end


def _digest(asked: object) -> str:
    text = json.dumps(asked, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
