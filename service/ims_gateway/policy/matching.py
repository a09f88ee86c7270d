"""How a value meets the patterns, objects and ceilings of a grant.

These are the functions that casbin's matcher calls, and whoever explains or judges a policy calls
the same ones, so that both mean the same by a pattern.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

SEPARATOR: Final = "\n"
NO_CEILING: Final = "*"
# Casbin allows a call of empty strings under an empty policy, so nothing empty ever reaches it.
ABSENT: Final = "-"


def fits(value: str, patterns: str) -> bool:
    """Say whether the value matches one of the patterns, of which only `*` is special."""
    return patterns == NO_CEILING or _expression(patterns).fullmatch(value) is not None


def touches(access: str, obj: str, read: str, write: str) -> bool:
    """Say whether the patterns for reading or for writing cover the object."""
    if access == "none":
        return True
    return fits(obj, write if access == "write" else read)


def within(priority: str, ceiling: str) -> bool:
    """Say whether the priority lies in the range `low-high`; no priority asked for always does."""
    if priority == ABSENT or ceiling == NO_CEILING:
        return True
    low, high = ceiling.split("-")
    return int(low) <= int(priority) <= int(high)


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
