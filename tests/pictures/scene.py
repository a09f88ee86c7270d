"""Two gateway processes on one ledger, the emulator behind them, and a few minutes in their lives.

What happens is made up to show in every panel: tenants of different habits, throttles, answers that
never come, an account that is cut off for a while, a file that is not taken.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import yaml

from ims_gateway.emulator.faults import FaultKind, FaultPlan
from ims_gateway.emulator.server import Emulator
from ims_gateway.emulator.settings import AccessKey, EmulatorSettings
from ims_gateway.identity.keys import key_hash, new_key
from ims_gateway_client import AsyncClient
from ims_gateway_client.errors import GatewayError
from imsgateway.v1.job_pb2 import Job
from tests.ports import free_port

IMSGW: Final = Path(sys.executable).with_name("imsgw")
ALGORITHMS: Final = ("cover", "video_h2v", "music_demix", "audio_beat_detection", "video_clip")
SECRET: Final = "the-account-secret"
PEPPER: Final = secrets.token_hex(20)
# Submits a second, and limits of its own.
TENANTS: Final[dict[str, tuple[float, list[dict[str, Any]]]]] = {
    "acme": (
        1.5,
        [
            {"id": "daily", "kind": "day", "max": 2_000},
            {"id": "open", "kind": "concurrent", "max": 20},
            {"id": "spend", "kind": "budget", "window": "month", "max_micros": 40_000_000},
        ],
    ),
    "globex": (1, [{"id": "burst", "kind": "rate", "per_second": 0.8, "burst": 5}]),
    "initech": (0.7, [{"id": "daily", "kind": "day", "max": 90}]),
    "umbrella": (
        0.6,
        [{"id": "spend", "kind": "budget", "window": "day", "max_micros": 4_000_000}],
    ),
    "hooli": (0.6, [{"id": "weekly", "kind": "week", "max": 400}]),
}
APART: Final = "hooli"


@dataclass
class Door:
    """A way to the emulator that can be shut: calls are then surely not sent."""

    to_port: int
    port: int = 0
    server: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def open(self) -> None:
        """Let calls through."""
        self.server = await asyncio.start_server(self._through, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Let none through, and end those connections that there are."""
        if self.server is not None:
            self.server.close()
        for writer in self.writers:
            writer.close()

    async def _through(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, on = await asyncio.open_connection("127.0.0.1", self.to_port)
        self.writers |= {back, on}
        await asyncio.gather(_copied(near, on), _copied(far, back))
        self.writers -= {back, on}


async def _copied(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    sink.close()


@dataclass
class Scene:
    """What runs, and what is done to it."""

    folder: Path
    emulator: Emulator
    door: Door
    targets: list[str]
    metrics: dict[str, dict[str, str]]
    keys: dict[str, str]
    chance: random.Random
    jobs: list[str] = field(default_factory=list)

    async def play(self, seconds: float) -> None:
        """Let it all happen, for that long."""
        async with AsyncExitStack() as stack:
            turns = asyncio.create_task(self._misfortunes(seconds))
            crowd = []
            for name, key in self.keys.items():
                clients = [
                    await stack.enter_async_context(AsyncClient(target, api_key=key))
                    for target in self.targets
                ]
                crowd.append(asyncio.create_task(self._tenant(name, clients, seconds)))
            await asyncio.gather(turns, *crowd)

    async def _tenant(self, name: str, clients: list[AsyncClient], seconds: float) -> None:
        """Call as this tenant does, in waves, through both gateways in turn."""
        rate, _ = TENANTS[name]
        until = time.monotonic() + seconds
        calls: set[asyncio.Task[None]] = set()
        for client in itertools.cycle(clients):
            if time.monotonic() >= until:
                break
            wave = 2.5 if (time.monotonic() // 20) % 3 == 0 else 1
            calls.add(task := asyncio.create_task(self._call(name, client)))
            task.add_done_callback(calls.discard)
            await asyncio.sleep(self.chance.expovariate(rate * wave))
        await asyncio.gather(*calls)

    async def _call(self, name: str, client: AsyncClient) -> None:
        dice = self.chance.random()
        bucket = "vault" if dice < 0.03 else "media"
        job = Job(name="") if dice > 0.98 else self._job(name, bucket)
        request_id = str(uuid.uuid4())
        with suppress(GatewayError, grpc.RpcError):
            taken = await client.submit(job, request_id=request_id, timeout_seconds=12)
            if dice < 0.1:
                await client.submit(job, request_id=request_id)
            if dice < 0.5:
                await client.get(taken.name)
            if dice > 0.9:
                await client.usage()

    def _job(self, name: str, bucket: str) -> Job:
        algorithm = self.chance.choice(ALGORITHMS)
        job = Job()
        getattr(job, algorithm).input.oss_uri = f"oss://{name}-{bucket}/in.mp4"
        return job

    async def _misfortunes(self, seconds: float) -> None:
        """Let things go wrong, at shares of the time."""
        plans = [
            (0.05, self._fault(FaultKind.SLOW, times=40, delay_seconds=0.4)),
            (0.15, self._fault(FaultKind.FAIL, times=15)),
            (0.25, self._fault(FaultKind.THROTTLE, times=3, retry_after_ms=500)),
            (0.35, self._file("accounts: [")),
            (0.4, self._fault(FaultKind.ACCEPT_THEN_DROP, times=2)),
            (0.45, self._file(None)),
            (0.5, self.door.shut()),
            (0.62, self.door.open()),
            (0.7, self._fault(FaultKind.THROTTLE, times=2, retry_after_ms=500)),
            (0.75, self._fault(FaultKind.SLOW, times=20, delay_seconds=2.0)),
            (0.85, self._fault(FaultKind.ACCEPTED_NO_JOB_ID, times=1)),
            (0.9, self._fault(FaultKind.REFUSE, times=10)),
        ]
        begin = time.monotonic()
        for share, plan in plans:
            await asyncio.sleep(max(0, begin + share * seconds - time.monotonic()))
            await plan

    async def _fault(self, kind: FaultKind, **more: Any) -> None:
        self.emulator.add_fault(FaultPlan(kind, **more))

    async def _file(self, wrong: str | None) -> None:
        """Spoil a tenant's file, or mend it."""
        file = self.folder / "tenants" / f"{APART}.yaml"
        good = file.with_suffix(".good")
        if wrong is None:
            file.write_text(good.read_text(encoding="utf-8"), encoding="utf-8")
        else:
            good.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
            file.write_text(wrong, encoding="utf-8")


@asynccontextmanager
async def scene(folder: Path, seed: int) -> AsyncIterator[Scene]:
    """Set it up in the folder, and take it down."""
    settings = EmulatorSettings(
        access_keys={"AKID": AccessKey(SECRET)}, job_seconds=6.0, http_port=None, https_port=0
    )
    async with Emulator(settings) as emulator:
        door = Door(int(httpx.URL(f"https://{_host(emulator)}").port or 0))
        await door.open()
        keys = _configure(folder, emulator, door)
        with _gateway(folder, 0) as first, _gateway(folder, 1) as second:
            ports = [first, second]
            await asyncio.gather(*(_serving(port) for port, _ in ports))
            metrics = {
                f"127.0.0.1:{shown}": {"namespace": "media", "pod": f"ims-gateway-{number}"}
                for number, (_, shown) in enumerate(ports)
            }
            targets = [f"127.0.0.1:{port}" for port, _ in ports]
            chance = random.Random(seed)  # noqa: S311 - no secret
            yield Scene(folder, emulator, door, targets, metrics, keys, chance)
        await door.shut()


def _host(emulator: Emulator) -> str:
    return emulator.https_endpoint.removeprefix("https://")


def _configure(folder: Path, emulator: Emulator, door: Door) -> dict[str, str]:
    account = {
        "region": "cn-shanghai",
        "ca_file": str(emulator.ca_file),
        "polls_per_second": 30,
        "max_in_flight": 16,
    }
    accounts = [
        account | {"name": "main", "endpoint": _host(emulator), "calls_per_second": 10},
        account | {"name": "spare", "endpoint": f"127.0.0.1:{door.port}", "calls_per_second": 5},
    ]
    prices = [{"algorithm": "*", "micros": 50_000}, {"algorithm": "music_demix", "micros": 90_000}]
    files: dict[str, Any] = {
        "accounts.yaml": {"accounts": accounts},
        "prices.yaml": {"currency": "CNY", "prices": prices},
    }
    keys = {}
    for name, (_, limits) in TENANTS.items():
        _, keys[name] = new_key()
        files[f"tenants/{name}.yaml"] = _tenant(name, keys[name], limits)
    (folder / "tenants").mkdir()
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
    return keys


def _tenant(name: str, key: str, limits: list[dict[str, Any]]) -> dict[str, Any]:
    entry = {"id": key.split("_")[1], "hash": key_hash(key, PEPPER.encode())}
    objects = [f"oss://{name}-media/*"]
    grant = {"subject": "role/editor", "actions": ["*"], "read": objects, "write": objects}
    return {
        "name": name,
        "account": "spare" if name == APART else "main",
        "default_output": f"oss://{name}-media/out",
        "principals": [{"name": "robot", "roles": ["editor"], "keys": [entry]}],
        "grants": [grant],
        "limits": limits,
    }


@contextmanager
def _gateway(folder: Path, number: int) -> Iterator[tuple[int, int]]:
    """Run `imsgw serve`; yields the ports of its calls and of its metrics."""
    port, shown = (free_port() for _ in range(2))
    environment = {
        "IMSGW_CONFIG_DIR": str(folder),
        "IMSGW_KEY_PEPPER": PEPPER,
        "IMSGW_DATABASE_URL": f"sqlite:///{folder / 'ledger.db'}",
        "IMSGW_DECISION_LOG": str(folder / "decisions.jsonl"),
        "IMSGW_LISTEN": f"127.0.0.1:{port}",
        "IMSGW_METRICS_LISTEN": f"127.0.0.1:{shown}",
        "IMSGW_POLL_INTERVAL_SECONDS": "1",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "AKID",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRET,
    }
    with (folder / f"gateway-{number}.log").open("wb") as log:
        process = subprocess.Popen([IMSGW, "serve"], env=environment, stdout=log, stderr=log)
    try:
        yield port, shown
        if process.poll() is not None:
            raise ChildProcessError((folder / f"gateway-{number}.log").read_text(encoding="utf-8"))
    finally:
        process.terminate()
        process.wait()


async def _serving(port: int) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await asyncio.wait_for(channel.channel_ready(), 60)
