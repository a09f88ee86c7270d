"""What there is of a submit beside its row in the ledger: in memory, and on the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from ims_gateway import settlement
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.record import Change, Intent
from ims_gateway.jobs.store import Store
from ims_gateway.resolution import SIGNATURE_SECONDS
from ims_gateway.upstream.client import SUBMIT
from ims_gateway.upstream.errors import NotSent, OutcomeUnknown, Throttled
from ims_gateway.upstream.reply import SubmitReply
from tests.unit.jobs.world import SECOND

UNCLEAR: Final = OutcomeUnknown(SUBMIT, "no answer")


class Answer(Enum):
    """What a gateway hears of its call; `taken unheard` is a job whose answer is lost."""

    TAKEN = auto()
    TAKEN_UNHEARD = auto()
    NOTHING = auto()
    THROTTLED = auto()
    UNREACHED = auto()


ANSWERS: Final = tuple(Answer)
REFUSALS: Final = {
    Answer.THROTTLED: Throttled(SUBMIT, "later", code="Throttling.User"),
    Answer.UNREACHED: NotSent(SUBMIT, "no connection"),
}


@dataclass(eq=False)
class Call:
    """A signed submit that has left for the service."""

    job_id: str
    request_id: str
    sent: int
    upstream_job_id: str = ""
    lost: bool = False

    def may_arrive(self, now: int) -> bool:
        """Whether the service could still take it: it is on its way, and its signature counts."""
        late = now - self.sent > SIGNATURE_SECONDS * SECOND
        return not (self.upstream_job_id or self.lost or late)

    def take(self) -> None:
        """Let the service make a job of it."""
        self.upstream_job_id = f"upstream of {self.job_id}"

    def hear(self, answer: Answer, now: int) -> Change:
        """Return what an answer says, or none that is clear: a timeout, a reset, a proxy's page."""
        if self.may_arrive(now):
            if answer in (Answer.TAKEN, Answer.TAKEN_UNHEARD):
                self.take()
            elif answer in REFUSALS:
                self.lost = True
                return settlement.failed(REFUSALS[answer])
        if answer is Answer.TAKEN and self.upstream_job_id:
            return settlement.accepted(SubmitReply(self.upstream_job_id, None, 200), now)
        return settlement.failed(UNCLEAR)


@dataclass(eq=False)
class Flight:
    """What a gateway has in memory of a submit."""

    intent: Intent = field(repr=False)
    seat: int
    dispatched: bool
    call: Call | None = None
    change: Change | None = None


@dataclass
class Gateway:
    """One process: its store and its ledger."""

    clock: Callable[[], int]
    store: Store
    ledger: Ledger
    flights: list[Flight] = field(default_factory=list)
