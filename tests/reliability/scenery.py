"""What a campaign plays in: the service, two tenants with their limits, and an account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import yaml

from ims_gateway.emulator.server import Emulator
from ims_gateway.emulator.settings import AccessKey, EmulatorSettings
from tests.integration.world import SECRET, tenant_file

# acme has room for everything, globex soon has none left.
LIMITS: Final = {("acme", "daily"): 10**9, ("acme", "weekly"): 10**9, ("globex", "daily"): 60}


@asynccontextmanager
async def an_emulator() -> AsyncIterator[Emulator]:
    """Run the service. Its jobs end soon."""
    settings = EmulatorSettings(
        access_keys={"AKID": AccessKey(SECRET)}, job_seconds=0.3, http_port=None, https_port=0
    )
    async with Emulator(settings) as emulator:
        yield emulator


def configure(
    folder: Path, emulator: Emulator, keys: Mapping[str, str], max_in_flight: int
) -> None:
    """Write the files of tenants and account."""
    account = {
        "name": "main",
        "region": "cn-shanghai",
        "endpoint": emulator.https_endpoint,
        "ca_file": str(emulator.ca_file),
        "max_in_flight": max_in_flight,
        "polls_per_second": 1000,
    }
    (folder / "tenants").mkdir()
    files = {"accounts.yaml": {"accounts": [account]}}
    for tenant, key in keys.items():
        limits = [
            {"id": limit_id, "kind": "day", "max": most}
            for (owner, limit_id), most in LIMITS.items()
            if owner == tenant
        ]
        files[f"tenants/{tenant}.yaml"] = tenant_file(tenant, key, limits=limits)
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
