"""What the configuration files have in common: strictness, names, patterns.

Every model forbids members that it does not know, so that a misspelt one is a fault and not a rule
that is silently absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NAME: Final = r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
Name = Annotated[str, StringConstraints(pattern=rf"^{NAME}$")]
Pattern = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00-\x1f]+$")]
Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1)]


class File(BaseModel):
    """A file or a part of one.

    Lists are tuples here: pydantic copies the default of a member deeply, at every use, unless it
    is immutable, and that was a third of the time that reading a tenant took.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def unique(what: str, names: Sequence[str]) -> None:
    """Raise ValueError where a name stands twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} defined twice: {', '.join(twice)}")
