"""What each process may use of an account: rows that it renews, and that lapse by themselves.

A process takes only what no other one holds, and holds what it has until it says otherwise: the sum
is never above the whole, whoever dies or comes late. Each function is a part of one of the ledger's
transactions, which must be alone with the lock of `LOCK`; times are microseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from ims_gateway.jobs.database import Connection
from ims_gateway.jobs.division import Claim, divide, divide_whole
from ims_gateway.jobs.pace import MICROSECONDS

# No tenant's name: those have no slash.
LOCK: Final = "shares/"
# From a row's renewal until others take what it holds. Its own process stops earlier.
LAPSE_MICROSECONDS: Final = 5 * MICROSECONDS
# How long what cannot be split stays with one process.
TURN_MICROSECONDS: Final = 2 * MICROSECONDS

ROWS: Final = "SELECT * FROM shares WHERE account = :account ORDER BY seat"
HOLD: Final = """
INSERT INTO shares (account, seat, life, renew_time, places, per_second, wanted_places,
    wanted_per_second, weight)
VALUES (:account, :seat, :life, :renew_time, :places, :per_second, :wanted_places,
    :wanted_per_second, :weight)
ON CONFLICT (account, seat) DO UPDATE SET life = excluded.life, renew_time = excluded.renew_time,
    places = excluded.places, per_second = excluded.per_second,
    wanted_places = excluded.wanted_places, wanted_per_second = excluded.wanted_per_second,
    weight = excluded.weight
"""
DROP: Final = """
DELETE FROM shares WHERE account = :account AND seat = :seat AND life = :life
"""


@dataclass(frozen=True, slots=True)
class Whole:
    """All that an account allows; a rate of 0 stands for one that is not limited."""

    account: str
    places: int
    per_second: float


@dataclass(frozen=True, slots=True)
class Holding:
    """What a process holds of an account, and what it wants. `life` is the process."""

    seat: str
    life: str
    places: int
    per_second: float
    wanted_places: int
    wanted_per_second: float
    weight: int
    # Whether it has held the seat before: then nobody else may have come to it.
    renewed: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """What a process may use from now on, and what it holds: more, until it has given that back.

    `processes` is how many there are.
    """

    places: int
    per_second: float
    held_places: int
    held_per_second: float
    processes: int

    @property
    def settled(self) -> bool:
        """Whether nothing is held that is not to be used."""
        return self.held_places <= self.places and self.held_per_second <= self.per_second


def renew(db: Connection, whole: Whole, holding: Holding, now: int) -> Share | None:
    """Renew what a process holds, and return its share.

    None where another process has come to its seat: two of one name, of which one must move.
    """
    rows = [dict(row) for row in db.execute(ROWS, {"account": whole.account}).fetchall()]
    others = []
    for row in rows:
        if row["seat"] == holding.seat:
            if holding.renewed and row["life"] != holding.life:
                return None
        elif _lives(row, now):
            others.append(row)
        else:
            db.execute(DROP, {name: row[name] for name in ("account", "seat", "life")})
    share = _share(whole, holding, others, now)
    values = {name: getattr(holding, name) for name in _MEMBERS}
    values |= {"account": whole.account, "renew_time": now}
    values |= {"places": share.held_places, "per_second": share.held_per_second}
    db.execute(HOLD, values)
    return share


def drop(db: Connection, accounts: Iterable[str], seat: str, life: str) -> None:
    """Give back all that a process holds."""
    for account in accounts:
        db.execute(DROP, {"account": account, "seat": seat, "life": life})


_MEMBERS: Final = ("seat", "life", "wanted_places", "wanted_per_second", "weight")


def _lives(row: dict[str, Any], now: int) -> bool:
    # Either way: a clock that stepped back must not keep a dead process's row for long.
    return abs(now - int(row["renew_time"])) < LAPSE_MICROSECONDS


def _share(whole: Whole, holding: Holding, others: list[dict[str, Any]], now: int) -> Share:
    seats = sorted([(row["seat"], row) for row in others] + [(holding.seat, None)])
    mine = seats.index((holding.seat, None))
    claims = [
        (holding.weight, holding.wanted_places, holding.wanted_per_second)
        if row is None
        else (row["weight"], row["wanted_places"], row["wanted_per_second"])
        for _, row in seats
    ]
    fair_places = divide_whole(
        whole.places,
        [Claim(weight, max(1, places)) for weight, places, _ in claims],
        now // TURN_MICROSECONDS,
    )[mine]
    fair_rate = divide(whole.per_second, [Claim(weight, rate) for weight, _, rate in claims])[mine]
    free_places = max(0, whole.places - sum(row["places"] for row in others))
    free_rate = max(0.0, whole.per_second - sum(row["per_second"] for row in others))
    places = min(fair_places, free_places)
    per_second = min(fair_rate, free_rate)
    return Share(
        places,
        per_second,
        held_places=max(places, holding.places),
        held_per_second=max(per_second, holding.per_second),
        processes=len(seats),
    )
