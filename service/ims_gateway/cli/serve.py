"""Runs a gateway as a process: until SIGTERM, then drains."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping

import structlog

from ims_gateway.app import gateway
from ims_gateway.settings import Settings
from ims_gateway.telemetry import logs, providers
from ims_gateway.tenancy.loading import Beginning

log = structlog.get_logger()


async def serve(settings: Settings, environment: Mapping[str, str], beginning: Beginning) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises ConfigurationError before the port is opened.
    """
    logs.configure()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    processors = (
        (providers.exporting_processor(),) if "OTEL_EXPORTER_OTLP_ENDPOINT" in environment else ()
    )
    close_metrics = (
        providers.serve_metrics(settings.metrics_listen) if settings.metrics_listen else None
    )
    try:
        async with gateway(settings, environment, beginning, span_processors=processors) as running:
            log.info("serving", listen=settings.listen, port=running.port)
            await stopped.wait()
            log.info("draining")
            await running.drain(settings.drain_seconds)
        log.info("stopped")
    finally:
        if close_metrics is not None:
            close_metrics()
