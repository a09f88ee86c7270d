"""One grant: a line of a tenant's policy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grant:
    """Subject, action, algorithm, what may be read and written, ceilings, effect.

    Every pattern is a glob of which only `*` is special, and it matches any run of characters; a
    tuple means "one of these". `priority` is the inclusive range of priorities that may be asked
    for, None for any. `rule` is the grant's place in its file, such as "acme.yaml#grants[2]".
    """

    rule: str
    subject: str
    actions: tuple[str, ...]
    algorithms: tuple[str, ...] = ("*",)
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    priority: tuple[int, int] | None = None
    models: tuple[str, ...] = ("*",)
    pipelines: tuple[str, ...] = ("*",)
    templates: tuple[str, ...] = ("*",)
    effect: str = "allow"
