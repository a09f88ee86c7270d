"""Races for the last of a limit: many callers at once, at several gateways, on one ledger.

Each kind of limit is the one limit of a tenant of its own. Decides what is asked for and counts
what came of it; whether that is right, the tests say.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from ims_gateway.emulator.server import Emulator
from ims_gateway.emulator.settings import AccessKey, EmulatorSettings
from ims_gateway.identity.keys import new_key
from ims_gateway_client import AsyncClient
from ims_gateway_client import errors as client_errors
from imsgateway.v1 import job_pb2
from tests.integration.world import ENVIRONMENT, PEPPER, SECRET, tenant_file
from tests.reliability.books import Database
from tests.reliability.lives import Launcher

MOST: Final = 100
PRICE: Final = 7
# Each has room for 100 jobs, and for not one more while the race lasts.
LIMITS: Final[Mapping[str, dict[str, Any]]] = {
    "rate": {"kind": "rate", "per_second": 0.0001, "burst": MOST},
    "day": {"kind": "day", "max": MOST},
    "month": {"kind": "month", "max": MOST, "per": ["principal", "algorithm"]},
    "concurrent": {"kind": "concurrent", "max": MOST},
    "budget": {"kind": "budget", "window": "week", "max_micros": MOST * PRICE + PRICE - 1},
}
# What a caller asks again about, with the request id it had.
ASKED_AGAIN: Final = (client_errors.Unavailable, client_errors.DeadlineExceeded)
CALL_SECONDS: Final = 30.0
JOB_SECONDS: Final = 3600.0
CONNECTIONS: Final = 2
DISAGREEING: Final = """
SELECT tenant, limit_id, bucket, period, SUM(used) AS difference FROM (
    SELECT tenant, limit_id, bucket, period, used FROM counters
    UNION ALL SELECT tenant, limit_id, bucket, period, -used FROM totals
    UNION ALL SELECT tenant, limit_id, bucket, period, -amount FROM holds WHERE state <> 'released'
) AS parts GROUP BY tenant, limit_id, bucket, period HAVING SUM(used) <> 0
"""


@dataclass(slots=True)
class Race:
    """What came of a race: jobs that the service took, and answers, by tenant."""

    accepted: Counter[str] = field(default_factory=Counter)
    admitted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    other: list[str] = field(default_factory=list)
    disagreeing: list[Mapping[str, Any]] = field(default_factory=list)


async def race(
    launcher: Launcher,
    folder: Path,
    database_url: str,
    *,
    callers: int,
    gateways: int = 4,
    variant: str = "the product",
    tenants: tuple[str, ...] = tuple(LIMITS),
) -> Race:
    """Let `callers` of each tenant submit one job each at once, spread over the gateways."""
    found = Race()
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(an_emulator())
        keys = {tenant: new_key()[1] for tenant in tenants}
        configure(folder, emulator, keys)
        sockets = [launcher.folder / f"race-{uuid.uuid4().hex[:8]}" for _ in range(gateways)]
        stack.push_async_callback(launcher.kill_all)
        lives = [
            await launcher.start(
                settings_of(folder, socket, database_url),
                ENVIRONMENT,
                folder / f"gateway-{number}.log",
                variant=variant,
            )
            for number, socket in enumerate(sockets)
        ]
        for life in lives:
            await life.begin()
        for tenant, key in keys.items():
            clients = [
                await stack.enter_async_context(AsyncClient(f"unix:{socket}", api_key=key))
                for socket in sockets * CONNECTIONS
            ]
            asking = (
                _ask(found, clients[number % len(clients)], tenant) for number in range(callers)
            )
            await asyncio.gather(*asking)
        for job in emulator.jobs:
            found.accepted[job.parameters["UserData"]] += 1
        found.disagreeing = Database(database_url).rows(DISAGREEING)
    return found


async def _ask(found: Race, client: AsyncClient, tenant: str) -> None:
    job = job_pb2.Job(
        cover={"input": {"oss_uri": f"oss://{tenant}-media/in.mp4"}}, user_data=tenant
    )
    request_id = str(uuid.uuid4())
    while True:
        try:
            await client.submit(job, request_id=request_id, timeout_seconds=CALL_SECONDS)
            found.admitted[tenant] += 1
        except ASKED_AGAIN:
            continue
        except client_errors.LimitExceeded:
            found.refused[tenant] += 1
        except client_errors.GatewayError as error:
            found.other.append(f"{tenant}: {error}")
        return


@asynccontextmanager
async def an_emulator() -> AsyncIterator[Emulator]:
    """Run the service. Its jobs outlast the race."""
    settings = EmulatorSettings(
        access_keys={"AKID": AccessKey(SECRET)},
        job_seconds=JOB_SECONDS,
        http_port=None,
        https_port=0,
    )
    async with Emulator(settings) as emulator:
        yield emulator


def configure(folder: Path, emulator: Emulator, keys: Mapping[str, str], **more: Any) -> None:
    """Write the files: one tenant for each kind of limit, or with the limits of `more`."""
    account = {
        "name": "main",
        "region": "cn-shanghai",
        "endpoint": emulator.https_endpoint,
        "ca_file": str(emulator.ca_file),
        "max_in_flight": 1000,
        "polls_per_second": 1,
    }
    (folder / "tenants").mkdir()
    files = {
        "accounts.yaml": {"accounts": [account]},
        "prices.yaml": {"currency": "CNY", "prices": [{"algorithm": "*", "micros": PRICE}]},
    }
    for tenant, key in keys.items():
        limits = more.get(tenant) or [{"id": tenant, **LIMITS[tenant]}]
        files[f"tenants/{tenant}.yaml"] = tenant_file(tenant, key, limits=limits)
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")


def settings_of(folder: Path, socket: Path, database_url: str) -> dict[str, Any]:
    """Return what a gateway of the race is started with."""
    return {
        "config_dir": str(folder),
        "key_pepper": PEPPER,
        "database_url": database_url,
        "listen": f"unix:{socket}",
        "metrics_listen": "",
        "decision_log": "",
        "database_timeout_seconds": 30.0,
    }
