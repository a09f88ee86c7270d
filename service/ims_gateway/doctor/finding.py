"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is. A warning may be meant; with a failure a gateway cannot do all of its work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: of which check, about what, and what to do about it. Never holds a secret."""

    check: str
    subject: str
    level: Level
    found: str
    advice: str = ""


def ok(check: str, subject: str, found: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(check, subject, Level.OK, found)


def warn(check: str, subject: str, found: str, advice: str) -> Finding:
    """Return a finding that somebody should look at."""
    return Finding(check, subject, Level.WARN, found, advice)


def fail(check: str, subject: str, found: str, advice: str) -> Finding:
    """Return a finding that somebody has to mend."""
    return Finding(check, subject, Level.FAIL, found, advice)


def lasting(seconds: float) -> str:
    """Return a time span in words."""
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
