"""A whole gateway for each test: real gRPC, real HTTPS, signatures verified, a real database."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy
import yaml
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from ims_gateway.app import Gateway, gateway
from ims_gateway.emulator.faults import FaultKind, FaultPlan
from ims_gateway.emulator.server import Emulator
from ims_gateway.emulator.settings import AccessKey, EmulatorSettings
from ims_gateway.identity.keys import key_hash, new_key
from ims_gateway.jobs.database import database
from ims_gateway.settings import Settings
from ims_gateway.telemetry.spans import Processor
from ims_gateway_client import AsyncClient
from imsgateway.v1 import job_pb2
from tests.spans import SpanKeeper
from tests.sqlite import new_ledger

PEPPER = "a pepper that is long enough for it"
SECRET = "the-account-secret"
ENVIRONMENT = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "AKID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRET,
}


@dataclass
class World:
    """A running gateway, the emulator behind it, and a client for each tenant."""

    folder: Path
    emulator: Emulator
    gateway: Gateway
    spans: SpanKeeper
    keys: dict[str, str]
    settings: Settings
    clients: dict[str, AsyncClient] = field(default_factory=dict)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.gateway.port}"

    @property
    def acme(self) -> AsyncClient:
        return self.clients["acme"]

    @property
    def globex(self) -> AsyncClient:
        return self.clients["globex"]

    @property
    def sent(self) -> int:
        """How many submits the emulator has received, whatever it answered."""
        return self.emulator.counts.of("SubmitIProductionJob").received

    @property
    def records(self) -> list[dict[str, Any]]:
        """The decision log, as it is written: that of all replicas."""
        self.gateway.decisions.flush()
        lines = Path(self.settings.decision_log).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return rows_of(self.settings.database_url.get_secret_value(), query)

    def used(self, limit_id: str = "daily") -> int:
        rows = self.rows(f"SELECT used FROM counters WHERE limit_id = '{limit_id}'")
        return sum(row[0] for row in rows)

    @asynccontextmanager
    async def replica(self, **settings: Any) -> AsyncIterator[World]:
        """Run another gateway on the same ledger, files and emulator."""
        async with serving(self.folder, self.emulator, self.keys, self.settings, settings) as other:
            yield other

    def fault(self, kind: str, **more: Any) -> None:
        self.emulator.add_fault(FaultPlan(FaultKind(kind), **more))


def tenant_file(name: str, key: str, **changes: Any) -> dict[str, Any]:
    entry = {"id": key.split("_")[1], "hash": key_hash(key, PEPPER.encode())}
    return {
        "name": name,
        "account": "main",
        "default_output": f"oss://{name}-media/out",
        "principals": [{"name": "robot", "roles": ["editor"], "keys": [entry]}],
        "grants": [
            {
                "subject": "role/editor",
                "actions": ["*"],
                "read": [f"oss://{name}-media/*"],
                "write": [f"oss://{name}-media/*"],
            }
        ],
        "limits": [
            {"id": "burst", "kind": "rate", "per_second": 10_000, "burst": 10_000},
            {"id": "daily", "kind": "day", "max": 1_000},
        ],
    } | changes


@asynccontextmanager
async def a_world(
    folder: Path,
    *,
    acme: dict[str, Any] | None = None,
    others: dict[str, dict[str, Any]] | None = None,
    settings: dict[str, Any] | None = None,
    account: dict[str, Any] | None = None,
    job_seconds: float = 0.2,
    database_url: str | None = None,
    prices: dict[str, Any] | None = None,
    parts: dict[str, Any] | None = None,
    span_processors: tuple[Processor, ...] = (),
    accounts: Sequence[dict[str, Any]] = (),
    access_keys: dict[str, AccessKey] | None = None,
    environment: dict[str, str] | None = None,
) -> AsyncIterator[World]:
    """Run a world. access_keys: looked up at each call, so more may be put in while it runs."""
    others = others or {}
    keys = {name: new_key()[1] for name in ("acme", "globex", *others)}
    emulated = EmulatorSettings(
        access_keys={"AKID": AccessKey(SECRET)} if access_keys is None else access_keys,
        job_seconds=job_seconds,
        http_port=None,
        https_port=0,
    )
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(Emulator(emulated))
        upstream = {
            "name": "main",
            "region": "cn-shanghai",
            "endpoint": emulator.https_endpoint,
            "ca_file": str(emulator.ca_file),
            "polls_per_second": 500,
        }
        (folder / "tenants").mkdir()
        files = {
            "accounts.yaml": {
                "accounts": [upstream | (account or {}), *(upstream | each for each in accounts)]
            },
            "tenants/acme.yaml": tenant_file("acme", keys["acme"], **(acme or {})),
            "tenants/globex.yaml": tenant_file("globex", keys["globex"]),
        }
        if prices:
            files["prices.yaml"] = prices
        for name, changes in others.items():
            files[f"tenants/{name}.yaml"] = tenant_file(name, keys[name], **changes)
        for name, content in files.items():
            (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
        values = {
            "config_dir": folder,
            "key_pepper": PEPPER,
            "database_url": database_url or new_ledger(folder),
            "listen": "127.0.0.1:0",
            "decision_log": str(folder / "decisions.jsonl"),
            "poll_interval_seconds": 0.05,
            "watch_interval_seconds": 0.02,
        } | (settings or {})
        world = serving(
            folder,
            emulator,
            keys,
            Settings(**values),
            parts=parts,
            span_processors=span_processors,
            environment=environment,
        )
        yield await stack.enter_async_context(world)


@asynccontextmanager
async def serving(
    folder: Path,
    emulator: Emulator,
    keys: dict[str, str],
    settings: Settings,
    changes: Any = None,
    *,
    parts: dict[str, Any] | None = None,
    span_processors: tuple[Processor, ...] = (),
    environment: dict[str, str] | None = None,
) -> AsyncIterator[World]:
    settings = settings.model_copy(update=changes or {})
    async with AsyncExitStack() as stack:
        spans = SpanKeeper()
        running = await stack.enter_async_context(
            gateway(
                settings,
                environment or ENVIRONMENT,
                span_processors=(spans, *span_processors),
                **(parts or {}),
            )
        )
        world = World(folder, emulator, running, spans, keys, settings)
        for name, key in keys.items():
            client = AsyncClient(world.target, api_key=key)
            world.clients[name] = await stack.enter_async_context(client)
        yield world


def rows_of(database_url: str, query: str) -> list[tuple[Any, ...]]:
    """Run a statement on a ledger, past everything that the gateway does with it."""
    ledger = database(database_url)
    engine = sqlalchemy.create_engine(
        f"{ledger.dialect}://", creator=ledger.connect_driver, poolclass=sqlalchemy.NullPool
    )
    with engine.begin() as connection:
        found = connection.exec_driver_sql(query)
        return [tuple(row) for row in found] if found.returns_rows else []


def cover(uri: str = "oss://acme-media/in.mp4", **fields: Any) -> job_pb2.Job:
    return job_pb2.Job(cover={"input": {"oss_uri": uri}}, **fields)


@dataclass
class Answer:
    """What a caller sees of a refused call."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]
    details: dict[str, Any]

    @property
    def paths(self) -> list[str]:
        return [violation.field for violation in self.details["BadRequest"].field_violations]


async def refused(call: Any) -> Answer:
    """Await a call that must fail, and return what its status says."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return answer_of(failed.value)


def answer_of(error: grpc.aio.AioRpcError) -> Answer:
    status = rpc_status.from_call(_Trailers(error))
    kinds = {
        kind.DESCRIPTOR.name: kind
        for kind in (
            error_details_pb2.ErrorInfo,
            error_details_pb2.BadRequest,
            error_details_pb2.QuotaFailure,
            error_details_pb2.RetryInfo,
            error_details_pb2.ResourceInfo,
        )
    }
    details = {}
    for packed in status.details:
        name = packed.TypeName().rpartition(".")[2]
        details[name] = kinds[name].FromString(packed.value)
    info = details["ErrorInfo"]
    assert info.domain == "imsgateway.v1"
    return Answer(error.code(), error.details(), info.reason, dict(info.metadata), details)


class _Trailers:
    """What grpc_status reads of a finished call."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code = error.code
        self.details = error.details
        self.trailing_metadata = error.trailing_metadata


async def until(condition: Callable[[], Any]) -> None:
    """Return once the condition, a function or a coroutine function, is true."""
    async with asyncio.timeout(30):
        while True:
            value = condition()
            if await value if inspect.isawaitable(value) else value:
                return
            await asyncio.sleep(0.01)


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
