"""Keeps this process's share of each upstream account: claims it, renews it, and gives it back.

Decides how often, and what a process may do that cannot renew: nothing, before others take its
share. No call waits for the ledger here; what a call needs is in `upstream.slots`.
"""

from __future__ import annotations

import asyncio
import math
import socket
import uuid
from contextlib import suppress
from typing import Final

import structlog

from ims_gateway.errors import StoreUnavailable
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.shares import Holding, Share, Whole
from ims_gateway.upstream.gate import Gate, Gates

RENEW_SECONDS: Final = 1.0
# Where calls wait for a larger share, or others for what is to be given back.
SOON_SECONDS: Final = 0.2
# From the begin of a renewal. Shorter than `shares.LAPSE_MICROSECONDS`: clocks are not all equal.
USABLE_SECONDS: Final = 3.5

log = structlog.get_logger()


class Leases:
    """The shares of one process. `seat` names it among the processes that are there at a time."""

    def __init__(self, ledger: Ledger, gates: Gates, seat: str | None = None) -> None:
        self._ledger = ledger
        self._gates = {name: gates[name] for name in gates}
        self._life = str(uuid.uuid4())
        self._seat = seat or self._life
        self._held: dict[str, tuple[int, float]] = {}
        self._renewed: set[str] = set()
        self._lapse: asyncio.TimerHandle | None = None
        self._waiting = False
        self._use_nothing()

    async def run(self) -> None:
        """Renew until cancelled, then give everything back. No failure ends it."""
        try:
            while True:
                pause_seconds = await self.round()
                await asyncio.sleep(pause_seconds)
        finally:
            if self._lapse:
                self._lapse.cancel()
            self._use_nothing()
            with suppress(StoreUnavailable):
                await self._ledger.drop_shares(self._gates, self._seat, self._life)

    async def round(self) -> float:
        """Renew once, and return when to do so again, in seconds."""
        try:
            settled = await self.renew()
        except StoreUnavailable as error:
            if not self._waiting:
                log.warning("shares wait for the ledger", error=error.message)
            self._waiting = True
            return RENEW_SECONDS
        except Exception as error:  # noqa: BLE001 - the next round may be better
            log.error("shares not renewed", error=type(error).__name__)  # noqa: TRY400 - no values
            return RENEW_SECONDS
        self._waiting = False
        starved = any(
            gate.slots.starved and gate.slots.limit < gate.account.max_in_flight
            for gate in self._gates.values()
        )
        return RENEW_SECONDS if settled and not starved else SOON_SECONDS

    async def renew(self) -> bool:
        """Renew all shares in one transaction; return whether they are as they are to be.

        Raises StoreUnavailable.
        """
        began = asyncio.get_running_loop().time()
        holdings = {name: self._holding(name) for name in self._gates}
        shares = await self._ledger.renew_shares(
            [(_whole(self._gates[name]), holding) for name, holding in holdings.items()]
        )
        if any(share is None for share in shares):
            log.error("two gateways of one name share a ledger", seat=self._seat)
            self._seat = self._life
            self._renewed.clear()
            return False
        if not self._lapse_at(began + USABLE_SECONDS):
            return False
        settled = [
            self._use(name, share) for name, share in zip(holdings, shares, strict=True) if share
        ]
        return all(settled)

    def _holding(self, name: str) -> Holding:
        demand = self._gates[name].slots.demand()
        places, per_second = self._held[name]
        return Holding(
            seat=self._seat,
            life=self._life,
            # No less than what is under way.
            places=max(places, demand.in_flight),
            per_second=per_second,
            wanted_places=demand.places,
            wanted_per_second=demand.per_second,
            weight=demand.weight,
            renewed=name in self._renewed,
        )

    def _use(self, name: str, share: Share) -> bool:
        gate = self._gates[name]
        unlimited = gate.account.calls_per_second is None
        self._renewed.add(name)
        self._held[name] = share.places, share.per_second
        per_second = math.inf if unlimited else share.per_second
        gate.slots.grant(share.places, per_second, share.processes)
        return share.settled

    def _lapse_at(self, time: float) -> bool:
        """Let the shares lapse at that time; say whether it is yet to come."""
        loop = asyncio.get_running_loop()
        if self._lapse:
            self._lapse.cancel()
        self._lapse = loop.call_at(time, self._use_nothing)
        return loop.time() < time

    def _use_nothing(self) -> None:
        self._held = dict.fromkeys(self._gates, (0, 0.0))
        for gate in self._gates.values():
            gate.slots.grant(0, 0.0 if gate.account.calls_per_second else math.inf)


def seat_of(listen: str, worker: int | None) -> str | None:
    """Return what no two gateways that are there at once have in common, if there is such a thing.

    A gateway that follows another one at its address takes over what that held of the accounts.
    """
    if listen.endswith(":0"):
        return None
    seat = f"{socket.gethostname()}/{listen}"
    return (seat if worker is None else f"{seat}/{worker}")[-255:]


def _whole(gate: Gate) -> Whole:
    account = gate.account
    return Whole(account.name, account.max_in_flight, account.calls_per_second or 0.0)
