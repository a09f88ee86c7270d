"""The grammar of a filter: comparisons of a field with a value, joined by AND (a part of AIP-160).

Decides where a filter's text cannot be read. What a comparison means is for `filters`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

# A caller that needs more has written a program, and every label costs the ledger a look.
MOST_COMPARISONS: Final = 20
AND: Final = "AND"

_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<operator><=|>=|!=|[=<>:])
    | (?P<quoted>"(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*')
    | (?P<word>[^\s"'=<>!:()\\]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a filter.

    kind: operator, quoted, word, or end. text: without quotes and escapes. at: at which character
    it stands, from 1.
    """

    kind: str
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison, as it was written: the value is a word or quoted."""

    field: Token
    operator: Token
    value: Token


class FilterError(Exception):
    """A fault of a filter, at a character of it."""

    def __init__(self, at: int, problem: str) -> None:
        super().__init__(f"character {at}: {problem}")


def comparisons(text: str) -> Iterator[Comparison]:
    """Return the comparisons of a filter. Raises FilterError at the first that cannot be read."""
    tokens = _tokens(text)
    token = next(tokens)
    if token.kind == "end":
        return
    for _ in range(MOST_COMPARISONS):
        field = _expect(token, "a field", "word")
        operator = _expect(next(tokens), "an operator such as =", "operator")
        yield Comparison(field, operator, _expect(next(tokens), "a value", "word", "quoted"))
        token = next(tokens)
        if token.kind == "end":
            return
        if (token.kind, token.text) != ("word", AND):
            raise FilterError(token.at, "expected AND, the only word that joins comparisons")
        token = next(tokens)
    raise FilterError(token.at, f"a filter has at most {MOST_COMPARISONS} comparisons")


def _expect(token: Token, what: str, *kinds: str) -> Token:
    if token.kind not in kinds or (token.kind, token.text) == ("word", AND):
        raise FilterError(token.at, f"expected {what}")
    return token


def _tokens(text: str) -> Iterator[Token]:
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise FilterError(position + 1, _problem(text[position]))
        if found.lastgroup == "quoted":
            yield Token("quoted", _ESCAPE.sub(r"\1", found[0][1:-1]), position + 1)
        elif found.lastgroup != "space":
            yield Token(str(found.lastgroup), found[0], position + 1)
        position = found.end()
    yield Token("end", "", len(text) + 1)


def _problem(character: str) -> str:
    if character in "\"'":
        return "a quote that is not closed"
    if character in "()":
        return "parentheses are not supported, only comparisons joined by AND"
    return "expected comparisons such as state = FAILED"
