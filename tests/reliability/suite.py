"""The suite: campaigns over every point, in crowded and roomy accounts, with one gateway and two.

Decides how the kills are spread, and counts what came of them.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Final

from tests.reliability.books import Violation
from tests.reliability.campaign import Outcome, Plan, carry_out
from tests.reliability.ledgers import NewLedger
from tests.reliability.lives import Launcher
from tests.reliability.naive import Variant
from tests.reliability.points import OF_A_CROWD, OF_LAPSES, Doom, Point

MOST_PASSAGES: Final = 6
NARROW: Final = (1, 2)
ROOMY: Final = 32


@dataclass(slots=True)
class Tally:
    """What came of all campaigns on one kind of database, or against one naive gateway."""

    subject: str
    seed: int
    campaigns: int = 0
    kills: Counter[Point] = field(default_factory=Counter)
    put_off: Counter[Point] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    request_ids: int = 0
    accepted: int = 0
    seconds: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one more campaign."""
        self.campaigns += 1
        self.kills += outcome.kills
        self.put_off += outcome.put_off
        self.states += Counter(outcome.states)
        self.request_ids += outcome.request_ids
        self.accepted += outcome.accepted
        self.violations += outcome.violations

    @property
    def missed(self) -> list[Point]:
        """The points at which nobody was killed."""
        return [point for point in Point if not self.kills[point]]


def everywhere(seed: int, rounds: int) -> Iterator[Plan]:
    """Yield campaigns in which a gateway dies about `rounds` times at every point."""
    dice = _dice(seed)
    for seats, max_in_flight in islice(cycle(((1, 1), (1, ROOMY), (2, 2), (2, ROOMY))), rounds):
        # Half of the campaigns have no crowd, so the others have two of each of its points.
        crowd = OF_A_CROWD * 2 if max_in_flight in NARROW else ()
        points = [point for point in Point if point not in OF_A_CROWD] + [*crowd]
        yield Plan(dice.getrandbits(32), _dooms(dice, points), max_in_flight, seats)


def briefly(seed: int, kills: int) -> Plan:
    """Return one campaign with every point in it, and deaths at any instant for the rest."""
    points = [*Point, *[Point.ANY_INSTANT] * (kills - len(Point) - len(OF_LAPSES))]
    return Plan(seed, _dooms(_dice(seed), points), max_in_flight=2, seats=2)


def against(variant: Variant, seed: int, kills: int) -> Plan:
    """Return a campaign against a naive gateway, at points that each of them passes."""
    points = (Point.SEND_ACCEPTED, Point.SEND_ANSWERED, Point.SETTLE_BEFORE, Point.ANY_INSTANT)
    dooms = _dooms(_dice(seed), list(islice(cycle(points), kills)))
    return Plan(seed, dooms, max_in_flight=ROOMY, variant=variant)


async def run(
    plans: Iterable[Plan],
    launcher: Launcher,
    folder: Path,
    new_ledger: NewLedger,
    tally: Tally,
) -> AsyncIterator[Outcome]:
    """Carry out the campaigns, each in a folder of its own; yield what comes of each.

    Raises GatewayError where a gateway does what nobody told it to.
    """
    began = time.monotonic()
    for plan in plans:
        with tempfile.TemporaryDirectory(dir=folder, prefix="campaign-") as own:
            outcome = await carry_out(plan, launcher, Path(own), new_ledger(Path(own)))
        tally.add(outcome)
        tally.seconds = time.monotonic() - began
        yield outcome


def _dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the seed is to bring a run back


def _dooms(dice: random.Random, points: list[Point]) -> tuple[Doom, ...]:
    dice.shuffle(points)
    return tuple(
        Doom(point, 1 if point in OF_LAPSES else dice.randint(1, MOST_PASSAGES)) for point in points
    )
