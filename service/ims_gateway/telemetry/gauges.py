"""What is looked up whenever metrics are collected, in whatever thread that is.

Each look reads a few numbers of the process's memory: none waits, locks, or asks the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from ims_gateway.telemetry import instruments
from ims_gateway.telemetry.meters import Meters
from ims_gateway.tenancy.live import Live
from ims_gateway.upstream.breaker import Condition
from ims_gateway.upstream.gate import Gates

BREAKER: Final = {Condition.CLOSED: 0, Condition.HALF_OPEN: 1, Condition.OPEN: 2}


def show_configuration(meters: Meters, live: Live) -> None:
    """Show how many tenants there are, and faults of files."""
    meters.gauge(instruments.CONFIGURATION_FAULTS, lambda: [((), len(live.faults))])
    meters.gauge(instruments.CONFIGURATION_TENANTS, lambda: [((), len(live.directory))])


def show_accounts(meters: Meters, gates: Gates, clock: Callable[[], float]) -> None:
    """Show the queue, places, rate and breaker of each account; `clock` is the event loop's."""
    slots = {name: gates[name].slots for name in gates}
    meters.gauge(
        instruments.QUEUE_LENGTH, lambda: [((name,), each.waiting) for name, each in slots.items()]
    )
    meters.gauge(
        instruments.UPSTREAM_IN_FLIGHT,
        lambda: [((name,), each.in_flight) for name, each in slots.items()],
    )
    meters.gauge(
        instruments.UPSTREAM_RATE,
        lambda: [
            ((name,), rate)
            for name, each in slots.items()
            if (rate := each.rate.per_second(clock())) < math.inf
        ],
    )
    meters.gauge(
        instruments.UPSTREAM_BREAKER,
        lambda: [((name,), BREAKER[each.breaker.condition]) for name, each in slots.items()],
    )
