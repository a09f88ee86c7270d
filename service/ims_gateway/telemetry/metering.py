"""All that one gateway measures: each instrument is made here once, for `app.py` to hand out.

What it never does: ask the ledger, or know what a measurement means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from google.protobuf import descriptor_pool
from prometheus_client import CollectorRegistry

from ims_gateway.policy.trial import OUTCOMES
from ims_gateway.telemetry import instruments, providers
from ims_gateway.telemetry.gauges import show_accounts, show_configuration
from ims_gateway.telemetry.labels import TenantLabels
from ims_gateway.telemetry.lag import watch_lag
from ims_gateway.telemetry.measures import (
    CallMeasures,
    SubmitMeasures,
    TrackerMeasures,
    UpstreamMeasures,
)
from ims_gateway.telemetry.meters import Meters
from ims_gateway.telemetry.readers import DistributionReader
from ims_gateway.telemetry.standings import Standings
from ims_gateway.tenancy.live import Live
from ims_gateway.upstream.account import Account
from ims_gateway.upstream.client import Measure
from ims_gateway.upstream.gate import Gates

# For the last metrics, to a receiver that may be gone.
SHUTDOWN_MILLISECONDS: Final = 2_000


class Metering:
    """The instruments of one gateway, and the `registry` that its Prometheus port shows.

    `most_tenants` have labels of their own; only methods of the `services` are told apart. The
    `readers` are told of all metrics, too.
    """

    def __init__(
        self, services: Iterable[str], most_tenants: int, readers: Sequence[DistributionReader] = ()
    ) -> None:
        prometheus = providers.prometheus_reader()
        self._provider = providers.meter_provider(prometheus, *readers)
        self._meters = meters = Meters(self._provider, (prometheus, *readers))
        self.registry: CollectorRegistry = prometheus.registry()
        self.labels = TenantLabels(most_tenants)
        self.calls = CallMeasures(meters, self.labels, _methods(services))
        self.submits = SubmitMeasures(meters, self.labels)
        self.polls = TrackerMeasures(meters)
        self.differences = meters.counter(instruments.SHADOW_DIFFERENCES, OUTCOMES).add
        self._reloads = meters.counter(instruments.CONFIGURATION_RELOADS, ("taken", "faulty"))
        self._commit_durations = meters.histogram(instruments.LEDGER_COMMIT_DURATION)
        self._commit_sizes = meters.histogram(instruments.LEDGER_COMMIT_SIZE)
        self._lags = meters.histogram(instruments.EVENT_LOOP_LAG)

    async def close(self) -> None:
        """Send what is left to send; in a thread, since that waits for its receiver."""
        await asyncio.to_thread(self._provider.shutdown, SHUTDOWN_MILLISECONDS)

    def upstream(self, accounts: Mapping[str, Account]) -> Measure:
        """Return what measures the requests of these accounts."""
        return UpstreamMeasures(self._meters, accounts).ended

    def committed(self, size: int, seconds: float) -> None:
        """Measure a transaction of so many operations."""
        self._commit_durations.record(seconds)
        self._commit_sizes.record(size)

    def reloaded(self, live: Live) -> None:
        """Count a change of the configuration."""
        self._reloads.add("faulty" if live.faults else "taken")

    def show_lost(self, lost: Mapping[str, Callable[[], int]]) -> None:
        """Show how many records of decisions each sink has lost."""
        self._meters.count(
            instruments.DECISIONS_LOST, lambda: [((sink,), count()) for sink, count in lost.items()]
        )

    def show(self, live: Live, gates: Gates, standings: Standings) -> None:
        """Show what is looked up whenever metrics are collected. Called on the event loop."""
        show_configuration(self._meters, live)
        show_accounts(self._meters, gates, asyncio.get_running_loop().time)
        standings.show(self._meters)

    def show_certificate(self, seconds_left: Callable[[], float]) -> None:
        """Show for how long the server's certificate is good."""
        self._meters.gauge(instruments.CERTIFICATE_TIME_LEFT, lambda: [((), seconds_left())])

    def show_credentials(self, seconds_left: Callable[[], Mapping[str, float]]) -> None:
        """Show for how long the key of each account is good."""
        self._meters.gauge(
            instruments.CREDENTIALS_TIME_LEFT,
            lambda: [((name,), seconds) for name, seconds in seconds_left().items()],
        )

    async def run(self) -> None:
        """Watch the event loop until cancelled."""
        await watch_lag(self._lags.record)


def _methods(services: Iterable[str]) -> frozenset[str]:
    """Return the methods of the services, as gRPC calls them."""
    pool = descriptor_pool.Default()
    return frozenset(
        f"{name}/{method.name}"
        for name in services
        for method in pool.FindServiceByName(name).methods
    )
