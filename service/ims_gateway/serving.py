"""Serves in this process: from the start of a gateway to its end.

The same for a process by itself and for one of several workers; what tells it to stop is another.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from ims_gateway.app import gateway
from ims_gateway.running import Gateway
from ims_gateway.settings import Settings
from ims_gateway.stopping import Stopping
from ims_gateway.telemetry import otlp, prometheus, providers
from ims_gateway.tenancy.loading import Beginning

METRICS_ENDPOINTS: Final = {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"}

log = structlog.get_logger()


async def serve_until(
    stopping: Stopping,
    settings: Settings,
    environment: Mapping[str, str],
    serving: Callable[[Gateway], None],
    beginning: Beginning | None = None,
    *,
    worker: int | None = None,
) -> None:
    """Serve until the word to stop, then drain. `serving` is called when calls are taken.

    A worker leaves the Prometheus port to the process that watches over it. Raises
    ConfigurationError, PortTaken.
    """
    processors = otlp.processors(environment)
    readers = (providers.exporting_reader(),) if METRICS_ENDPOINTS & environment.keys() else ()
    async with gateway(
        settings,
        environment,
        beginning,
        span_processors=processors,
        metric_readers=readers,
        worker=worker,
    ) as running:
        with prometheus.shown(running.metrics, settings.metrics_listen if worker is None else ""):
            # All that is there by now stays: no collection is to walk over thousands of tenants.
            gc.freeze()
            serving(running)
            await stopping.said.wait()
            log.info("draining")
            await running.drain(
                settings.drain_seconds, settings.drain_delay_seconds, stopping.in_a_hurry
            )
    log.info("stopped")
