"""How a value meets the patterns, objects and ceilings of a grant.

These are the functions that casbin's matcher calls, and whoever explains or judges a policy calls
the same ones, so that both mean the same by a pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

SEPARATOR: Final = "\n"
NO_CEILING: Final = "*"
PLACEHOLDER: Final = re.compile(r"\{[^{}]*\}")
# Casbin allows a call of empty strings under an empty policy, so nothing empty ever reaches it.
ABSENT: Final = "-"


def fits(value: str, patterns: str) -> bool:
    """Say whether the value matches one of the patterns, of which only `*` is special."""
    return patterns == NO_CEILING or _expression(patterns).fullmatch(value) is not None


def touches(access: str, obj: str, read: str, write: str, effect: str) -> bool:
    """Say whether a grant's patterns for reading or for writing cover the object."""
    return access == "none" or covers(access, obj, write if access == "write" else read, effect)


def covers(access: str, obj: str, patterns: str, effect: str) -> bool:
    """Say whether patterns are about an object.

    The service fills placeholders in the name of an output: {source} by the name of a file that the
    caller chose, which has no slash. Of an allow, every name that comes out must be covered, which
    is so where the placeholder as it stands is. A deny is about the output as soon as one such name
    would be.
    """
    if effect == "deny" and access == "write" and obj.startswith("oss://") and "{" in obj:
        return _may_fit(obj, patterns)
    return fits(obj, patterns)


def within(priority: str, ceiling: str) -> bool:
    """Say whether the priority lies in the range `low-high`; no priority asked for always does."""
    if priority == ABSENT or ceiling == NO_CEILING:
        return True
    low, high = ceiling.split("-")
    return int(low) <= int(priority) <= int(high)


@lru_cache(maxsize=8192)
def _may_fit(obj: str, patterns: str) -> bool:
    parts = tuple(PLACEHOLDER.split(obj))
    return any(_meet(parts, pattern) for pattern in patterns.split(SEPARATOR))


def _meet(parts: tuple[str, ...], glob: str) -> bool:
    """Say whether the parts, with some names between them, match: by all places they lead to."""
    places = {0}
    for number, part in enumerate(parts):
        if number:
            places = _steps(places, glob, lambda character: character != "/")
        for character in part:
            on = {place for place in _over_stars(places, glob) if place < len(glob)}
            places = {place for place in on if glob[place] == "*"}
            places |= {place + 1 for place in on if glob[place] == character}
    return len(glob) in _over_stars(places, glob)


def _over_stars(places: set[int], glob: str) -> set[int]:
    return _steps(places, glob, lambda character: character == "*")


def _steps(places: set[int], glob: str, passes: Callable[[str], bool]) -> set[int]:
    """Return all places that are reached over characters of the glob that let one pass."""
    reached, more = set(places), places
    while more:
        more = {place + 1 for place in more if place < len(glob) and passes(glob[place])} - reached
        reached |= more
    return reached


@lru_cache(maxsize=65536)
def _expression(patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(map(_glob, patterns.split(SEPARATOR))), re.DOTALL)


def _glob(pattern: str) -> str:
    """Return the glob as a regular expression.

    The groups are atomic. Where `.*` may be tried again, three stars and a key of 600 characters
    that a caller chose take five seconds.
    """
    head, *parts = map(re.escape, pattern.split("*"))
    if not parts:
        return head
    *middle, tail = parts
    return head + "".join(f"(?>.*?{part})" for part in middle) + f".*{tail}"
