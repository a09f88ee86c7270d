"""Whether those whom a gateway asks besides its upstream can be reached: issuers, the collector."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from ims_gateway.doctor.finding import Finding, fail, ok, warn
from ims_gateway.identity.key_set import UnusableKeys, read
from ims_gateway.identity.retrieval import retrieve
from ims_gateway.tenancy.files import IssuerFile

SECONDS: Final = 3.0
OTLP: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
OTLP_PORT: Final = 4317


async def check_issuer(issuer: IssuerFile) -> list[Finding]:
    """Say whether an issuer's keys can be had, and are of use."""
    where = issuer.jwks_url or str(issuer.jwks_file)
    try:
        keys = read(await retrieve(issuer))
    except UnusableKeys as problem:
        advice = "Check jwks_url or jwks_file, ca_file, and the way there: no token is believed."
        return [fail("issuer", issuer.name, f"{where}: {problem}", advice)]
    wanted = {algorithm for _, algorithm in keys} & set(issuer.algorithms)
    if not wanted:
        found = f"{where}: no key for {', '.join(issuer.algorithms)}"
        advice = "Compare `algorithms` with what the issuer signs with: no token is believed."
        return [fail("issuer", issuer.name, found, advice)]
    names = {key_id for key_id, algorithm in keys if algorithm in wanted}
    return [ok("issuer", issuer.name, f"{len(names)} keys for {', '.join(sorted(wanted))}")]


async def check_telemetry(environment: Mapping[str, str]) -> list[Finding]:
    """Say whether the collector of traces can be reached, where one is named."""
    variable = next((name for name in OTLP if environment.get(name)), None)
    if variable is None:
        return [ok("telemetry", OTLP[-1], "not set: no traces are sent")]
    endpoint = environment[variable]
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    advice = "Check the address and the collector; calls go on without."
    try:
        port = parts.port or OTLP_PORT
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, port)
        writer.close()
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or type(error).__name__
        return [warn("telemetry", variable, f"{parts.hostname}: {text}", advice)]
    return [ok("telemetry", variable, f"{parts.hostname}:{port} takes connections")]
