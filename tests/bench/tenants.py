"""Measures what many tenants cost: a call's authorization, memory, a start, a changed file.

    python -m tests.bench.tenants [--many N] [--output FILE] [--strict]

Four goals: with 100,000 tenants on file, authentication and authorization take at most 1.2 times
what they take with 10; a tenant that nobody uses takes at most 2,000 bytes; a gateway with 10,000
tenants answers within 5 s of its start; one changed file among them is in force within 1 s.

The first is a ratio of two measured in turns. Exits 1, with --strict, when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import grpc
from rich.console import Console
from rich.table import Table

from ims_gateway.identity.authenticator import Authenticator
from ims_gateway.identity.key_sets import KeySets
from ims_gateway.identity.keys import key_hash
from ims_gateway.identity.retrieval import retrieve
from ims_gateway.identity.tokens import Tokens
from ims_gateway.jobs.migrate import upgrade
from ims_gateway.policy.authorization import Authorization
from ims_gateway.tenancy.directory import Directory
from ims_gateway.tenancy.loading import load
from ims_gateway_client import Client, GatewayError
from imsgateway.v1 import access_service_pb2, job_pb2
from tests.bench.children import ROOT
from tests.calls import a_call

PEPPER: Final = "a pepper that is long enough for it"
KEY: Final = "imsk_k0000001_" + "A" * 43
ROTATED: Final = "imsk_k0000002_" + "B" * 43
JOB: Final = job_pb2.Job(
    cover={
        "input": {"oss_uri": "oss://t1-media/in.mp4"},
        "output": {"uri": "oss://t1-media/ims/out.png"},
    }
)
FEW: Final = 10
TURNS: Final = 15
CALLS: Final = 400


def main() -> int:
    """Run the bench and return the exit code."""
    options = _options()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tenants-", dir=ROOT / "build") as name:
        figures = [*_flatness(Path(name), options.many), *_serving(Path(name), options.many // 10)]
    table = Table("figure", "measured", "goal", "met", title="Many tenants")
    for figure in figures:
        table.add_row(*(str(figure[column]) for column in ("name", "measured", "goal", "met")))
    console.print(table)
    options.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 1 if options.strict and not all(figure["met"] for figure in figures) else 0


def _flatness(folder: Path, many: int) -> list[dict[str, Any]]:
    few_tenants = load(written(folder / "few", FEW)).directory
    gc.collect()
    before = _resident_bytes()
    many_tenants = load(written(folder / "many", many)).directory
    gc.collect()
    bytes_each = (_resident_bytes() - before) / many
    calls = [_call(few_tenants), _call(many_tenants)]
    for call in calls:
        call()
    turns = [[call() for call in calls] for _ in range(TURNS)]
    few_us, many_us = (median(times) for times in zip(*turns, strict=True))
    return [
        _figure(f"authorization, {many} tenants / {FEW}", many_us / few_us, 1.2),
        _figure("bytes of a tenant that is not in use", bytes_each, 2000),
    ]


def _serving(folder: Path, count: int) -> list[dict[str, Any]]:
    config = written(folder / "served", count)
    port = 20000 + os.getpid() % 20000
    target = f"127.0.0.1:{port}"
    # As where a job has migrated before the gateways start.
    upgrade(_ledger(folder))
    started = time.monotonic()
    with _serve(config, folder, port):
        _until(lambda: _answers_anew(target))
        start_seconds = time.monotonic() - started
        gaps: list[float] = []
        with Client(target, api_key=KEY) as client, Client(target, api_key=ROTATED) as rotated:
            text = tenant(1).replace(_hash(KEY), _hash(ROTATED))
            changed = time.monotonic()
            _put(config, 1, text)
            _until(lambda: _answers(rotated) or _note(gaps, client))
            change_seconds = time.monotonic() - changed
    return [
        _figure(f"seconds to a start's first answer, {count} tenants", start_seconds, 5),
        _figure(f"seconds until a changed file of {count} is in force", change_seconds, 1),
        _figure("longest call meanwhile, seconds", max(gaps), 0.25),
    ]


def written(folder: Path, count: int) -> Path:
    """Write a configuration of so many tenants, and return its folder."""
    (folder / "tenants").mkdir(parents=True)
    accounts = "accounts: [{name: main, region: cn-shanghai, endpoint: '127.0.0.1:9'}]"
    (folder / "accounts.yaml").write_text(accounts, encoding="utf-8")
    for number in range(1, count + 1):
        _put(folder, number, tenant(number))
    return folder


def tenant(number: int) -> str:
    """Return a tenant's file of everyday size."""
    first = _hash(KEY) if number == 1 else hashlib.sha256(f"a{number}".encode()).hexdigest()
    second = hashlib.sha256(f"b{number}".encode()).hexdigest()
    return f"""\
name: t{number}
account: main
time_zone: Asia/Shanghai
default_output: oss://t{number}-media/ims
principals:
  - name: render-farm
    roles: [editor]
    keys:
      - id: k{number:07x}
        hash: "{first}"
        expires: 2099-01-01T00:00:00Z
  - name: viewer
    roles: [viewer]
    keys:
      - id: j{number:07x}
        hash: "{second}"
grants:
  - subject: role/editor
    actions: [submit, get, list, watch, cancel]
    read: ["oss://t{number}-media/*", "media:*"]
    write: ["oss://t{number}-media/ims/*"]
    ceilings: {{priority: [3, 10]}}
  - subject: role/viewer
    actions: [get, list, watch]
  - subject: role/editor
    actions: [submit]
    read: ["oss://t{number}-media/embargo/*"]
    effect: deny
limits:
  - {{id: burst, kind: rate, per_second: 10, burst: 20}}
  - {{id: daily, kind: day, max: 1000}}
"""


def _call(directory: Directory) -> Callable[[], float]:
    """Return what makes some calls' worth of checks, and says how many microseconds each took."""
    key_sets = KeySets(lambda: directory.issuers, retrieve, time.monotonic)
    tokens = Tokens(lambda: directory.issuers, key_sets, time.time)
    authenticator = Authenticator(lambda: directory, tokens, PEPPER.encode(), time.time)
    authorization = Authorization(lambda: directory)
    metadata = (("authorization", f"Bearer {KEY}"),)

    async def turn() -> float:
        started = time.perf_counter()
        for _ in range(CALLS):
            caller = await authenticator.authenticate(metadata)
            tenant = authorization.tenant(a_call(principal=caller), "")
            assert authorization.submit(caller, tenant, JOB).allowed
        return (time.perf_counter() - started) / CALLS * 1e6

    return lambda: asyncio.run(turn())


@contextmanager
def _serve(config: Path, folder: Path, port: int) -> Any:
    environment = {
        "PATH": os.environ["PATH"],
        "IMSGW_CONFIG_DIR": str(config),
        "IMSGW_KEY_PEPPER": PEPPER,
        "IMSGW_DATABASE_URL": _ledger(folder),
        "IMSGW_LISTEN": f"127.0.0.1:{port}",
        "IMSGW_METRICS_LISTEN": "",
        "IMSGW_DECISION_LOG": "",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "AKID",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
    }
    process = subprocess.Popen(
        [Path(sys.executable).parent / "imsgw", "serve"], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _answers(client: Client) -> bool:
    try:
        client.access.WhoAmI(access_service_pb2.WhoAmIRequest(), timeout=1)
    except (grpc.RpcError, GatewayError):
        return False
    return True


def _answers_anew(target: str) -> bool:
    """Call over a new connection: one that was refused waits for seconds before it tries again.

    A port that is not open yet is asked without a client, which would take a good part of a core.
    """
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    with Client(target, api_key=KEY) as client:
        return _answers(client)


def _note(gaps: list[float], client: Client) -> bool:
    """Call once more as somebody else, whose key is taken away in the same change."""
    started = time.monotonic()
    _answers(client)
    gaps.append(time.monotonic() - started)
    return False


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.01)


def _put(folder: Path, number: int, text: str) -> None:
    (folder / "tenants" / f"t{number}.yaml").write_text(text, encoding="utf-8")


def _ledger(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.db'}"


def _hash(key: str) -> str:
    return key_hash(key, PEPPER.encode())


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf(
        "SC_PAGE_SIZE"
    )


def _figure(name: str, measured: float, goal: float) -> dict[str, Any]:
    return {"name": name, "measured": round(measured, 3), "goal": goal, "met": measured <= goal}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tenants", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--many", type=int, default=100_000, help="tenants on file")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench-tenants.json")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a goal is missed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
