"""All checks, at once, each within its time.

Decides what is looked at. A check that fails by a fault of its own is a finding, too, and stops no
other one. Nothing is changed, and no gateway is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from ims_gateway.doctor.certificates import check_certificates
from ims_gateway.doctor.configuration import (
    FILES,
    check_decision_log,
    check_files,
    check_pepper,
    check_policy,
)
from ims_gateway.doctor.finding import Finding, fail
from ims_gateway.doctor.network import check_issuer, check_telemetry
from ims_gateway.doctor.ports import check_admin_port, check_grpc_port, check_metrics_port
from ims_gateway.doctor.store import STORE, check_store
from ims_gateway.doctor.upstream import UPSTREAM, check_account
from ims_gateway.settings import Settings
from ims_gateway.threads import apart

Findings = list[Finding]
# In this order findings are told: what others rest on comes first.
ORDER: Final = (
    FILES,
    "policy",
    "key pepper",
    STORE,
    "certificate",
    "port",
    "decision log",
    "issuer",
    "credentials",
    UPSTREAM,
    "telemetry",
)


async def examine(settings: Settings, environment: Mapping[str, str], seconds: float) -> Findings:
    """Return everything that is found, each check within so many seconds."""

    async def within(name: str, subject: str, check: Awaitable[Findings]) -> Findings:
        try:
            async with asyncio.timeout(seconds):
                return await check
        except TimeoutError:
            advice = "Look for what hangs there, or give it longer with --timeout."
            return [fail(name, subject, f"no answer in {seconds:g} s", advice)]
        except Exception as error:  # noqa: BLE001 - a check's own fault is told beside the others
            advice = "A fault of the check itself: report it."
            return [fail(name, subject, type(error).__name__, advice)]

    def waiting(
        name: str, subject: str, check: Callable[[Settings], Findings]
    ) -> Awaitable[Findings]:
        return within(name, subject, apart(name, lambda: check(settings)))

    async def files() -> Findings:
        directory = None

        async def read() -> Findings:
            nonlocal directory
            directory, found = await apart(FILES, lambda: check_files(settings))
            return found

        found = await within(FILES, settings.config_dir.name, read())
        if directory is None:
            return found
        of_files = await asyncio.gather(
            waiting("policy", "lint", check_policy),
            *(
                within("issuer", name, check_issuer(issuer))
                for name, issuer in directory.issuers.items()
            ),
            *(
                within(UPSTREAM, name, check_account(file, environment))
                for name, file in directory.accounts.items()
            ),
        )
        return [*found, *(each for part in of_files for each in part)]

    parts = await asyncio.gather(
        files(),
        waiting(STORE, "connection", check_store),
        waiting("certificate", "IMSGW_TLS_CERTIFICATE_FILE", check_certificates),
        waiting("key pepper", "IMSGW_KEY_PEPPER", check_pepper),
        waiting("decision log", "IMSGW_DECISION_LOG", check_decision_log),
        within("port", "IMSGW_LISTEN", check_grpc_port(settings)),
        within("port", "IMSGW_ADMIN_LISTEN", check_admin_port(settings)),
        within("port", "IMSGW_METRICS_LISTEN", check_metrics_port(settings)),
        within("telemetry", "OTEL_EXPORTER_OTLP_ENDPOINT", check_telemetry(environment)),
    )
    found = [each for part in parts for each in part]
    return sorted(found, key=lambda each: ORDER.index(each.check))
