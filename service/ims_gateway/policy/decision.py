"""The question to a policy, and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from imsgateway.v1 import decision_pb2


class Dimension(IntEnum):
    """What of a grant did not fit; the numbers are those of the contract."""

    SUBJECT = decision_pb2.Decision.DIMENSION_SUBJECT
    ACTION = decision_pb2.Decision.DIMENSION_ACTION
    ALGORITHM = decision_pb2.Decision.DIMENSION_ALGORITHM
    READ = decision_pb2.Decision.DIMENSION_READ
    WRITE = decision_pb2.Decision.DIMENSION_WRITE
    CEILING = decision_pb2.Decision.DIMENSION_CEILING
    DENY = decision_pb2.Decision.DIMENSION_DENY


@dataclass(frozen=True, slots=True)
class Ask:
    """The question: may `subject` do `action` with `algorithm` to these objects.

    `objects` holds pairs of access ("read", "write", or "none" for calls that touch no object) and
    canonical object. `priority` None, and empty model, pipeline or template, mean "not asked for".
    """

    subject: str
    action: str
    algorithm: str
    objects: tuple[tuple[str, str], ...]
    priority: int | None = None
    model: str = ""
    pipeline: str = ""
    template: str = ""


@dataclass(frozen=True, slots=True)
class NearGrant:
    """A grant that would allow the call, were it not for the dimensions in which it does not fit.

    DENY among them says that a deny stands in its way too.
    """

    rule: str
    failed: tuple[Dimension, ...]


@dataclass(frozen=True, slots=True)
class ObjectDecision:
    """The answer for one object, the rule that decided, and what did not fit.

    `nearest` is filled in only where somebody wants it explained.
    """

    access: str
    object: str
    allowed: bool
    rule: str
    failed: Dimension | None
    nearest: tuple[NearGrant, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The policy's answer to one call.

    `shadow` is what the policy on trial answers, where it differs.
    """

    ask: Ask
    allowed: bool
    failed: Dimension | None
    objects: tuple[ObjectDecision, ...]
    policy_version: str
    shadow: Decision | None = None

    @property
    def rule(self) -> str:
        """The rule that decided: of the first refused object, else of the last allowed one."""
        refused = [answer.rule for answer in self.objects if not answer.allowed]
        return refused[0] if refused else self.objects[-1].rule
