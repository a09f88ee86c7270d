"""Runs a gateway: in this process, or in several that this one watches over."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from ims_gateway.settings import Settings
from ims_gateway.stopping import Stopping
from ims_gateway.telemetry import logs
from ims_gateway.tenancy.loading import Beginning

log = structlog.get_logger()


async def serve(settings: Settings, environment: Mapping[str, str], beginning: Beginning) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code.

    The reading of the configuration has begun already.
    Raises ConfigurationError, PortTaken.
    """
    logs.configure()
    stopping = Stopping()
    stopping.hear_signals()
    if settings.workers > 1:
        # Imported here: the process that watches needs nothing of what the others do.
        from ims_gateway.workers.supervisor import supervise  # noqa: PLC0415

        return await supervise(settings, beginning, stopping)
    await _serve_alone(settings, environment, beginning, stopping)
    return 0


async def _serve_alone(
    settings: Settings, environment: Mapping[str, str], beginning: Beginning, stopping: Stopping
) -> None:
    from ims_gateway.running import Gateway  # noqa: PLC0415 - see above
    from ims_gateway.serving import serve_until  # noqa: PLC0415

    def serving(running: Gateway) -> None:
        log.info(
            "serving",
            listen=settings.listen,
            port=running.port,
            **({"admin_port": running.admin_port} if running.admin_port else {}),
        )

    await serve_until(stopping, settings, environment, serving, beginning)
