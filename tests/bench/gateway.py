"""`imsgw serve` with everything on, in a folder of its own, and proof that everything was on.

One worker; API keys; a policy with an allowing and a denying grant; a rate and a daily limit on
SQLite with full sync; signing; spans exported over OTLP; the decision log in a file. The limits are
high enough to refuse nothing. A job is not asked about during a run: the first poll comes after
POLL_SECONDS, because what is measured is the submit.
"""

from __future__ import annotations

import os
import secrets
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from ims_gateway.identity.keys import key_hash, new_key
from ims_gateway.jobs.states import State
from tests.bench.children import BenchError, Child, child

POLL_SECONDS: Final = 60
IMSGW: Final = Path(sys.executable).with_name("imsgw")
# authenticate, validate, authorize, admit, wait, translate, send, settle, and the call itself
SPANS_A_JOB: Final = 9
LEAST_SPANS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Workplace:
    """The folder of one gateway, and what it is started with."""

    folder: Path
    environment: dict[str, str]
    api_key: str

    def check(self, jobs: int, spans: int) -> None:
        """Raise BenchError unless everything was on.

        Ledger and decision log hold every job; of the spans most arrived: the exporter's queue is
        bounded, and what does not fit is dropped.
        """
        queued, charged = self._ledger()
        with (self.folder / "decisions.jsonl").open("rb") as log:
            decisions = sum(b'"code":"OK"' in line for line in log)
        if (queued, charged, decisions) != (jobs, jobs, jobs):
            raise BenchError(
                f"gateway: of {jobs} jobs, {queued} are in the ledger, {charged} were charged, "
                f"{decisions} are in the decision log"
            )
        if spans < LEAST_SPANS * SPANS_A_JOB * jobs:
            raise BenchError(f"gateway: of {jobs} jobs, only {spans} spans arrived")

    def _ledger(self) -> tuple[int, int]:
        """Return how many jobs the ledger says are queued, and how many the limit has counted."""
        path = f"file:{self.folder / 'ledger.db'}?mode=ro"
        queued = "SELECT COUNT(*) FROM jobs WHERE state = ?"
        try:
            with closing(sqlite3.connect(path, uri=True)) as ledger:
                return (
                    ledger.execute(queued, (int(State.QUEUED),)).fetchone()[0],
                    ledger.execute("SELECT SUM(used) FROM counters").fetchone()[0],
                )
        except sqlite3.Error as error:
            raise BenchError(f"gateway: its ledger cannot be read: {error}") from None


def prepare(folder: Path, upstream: str, ca_file: Path, collector: str) -> Workplace:
    """Write the configuration of one gateway and one tenant. `upstream` is host:port."""
    pepper = secrets.token_urlsafe(32)
    key_id, api_key = new_key()
    account = {
        "name": "bench",
        "region": "cn-shanghai",
        "endpoint": upstream,
        "ca_file": str(ca_file),
    }
    key = {"id": key_id, "hash": key_hash(api_key, pepper.encode())}
    (folder / "tenants").mkdir(parents=True)
    _write(folder / "accounts.yaml", {"accounts": [account]})
    _write(folder / "tenants" / "bench.yaml", _tenant(key))
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("IMSGW_", "OTEL_", "ALIBABA_CLOUD_"))
    }
    settings = {
        "IMSGW_CONFIG_DIR": str(folder),
        "IMSGW_KEY_PEPPER": pepper,
        "IMSGW_DATABASE_URL": f"sqlite:///{folder / 'ledger.db'}",
        "IMSGW_LISTEN": "127.0.0.1:0",
        "IMSGW_METRICS_LISTEN": "127.0.0.1:0",
        "IMSGW_DECISION_LOG": str(folder / "decisions.jsonl"),
        "IMSGW_POLL_INTERVAL_SECONDS": str(POLL_SECONDS),
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "BENCH-ACCESS-KEY",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": secrets.token_urlsafe(24),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
    }
    return Workplace(folder, inherited | settings, api_key)


@asynccontextmanager
async def serving(workplace: Workplace) -> AsyncIterator[tuple[Child, str]]:
    """Run the gateway; gives the process and its address."""
    async with child(
        "gateway",
        str(IMSGW),
        "serve",
        environment=workplace.environment,
        folder=workplace.folder,
        end_with=signal.SIGTERM,
    ) as running:
        port = (await running.hear("port"))["port"]
        yield running, f"127.0.0.1:{port}"


def _tenant(key: dict[str, str]) -> dict[str, Any]:
    media, secret = ["oss://bench-media/*"], ["oss://*-vault/*"]
    return {
        "name": "bench",
        "account": "bench",
        "principals": [{"name": "load", "roles": ["editor"], "keys": [key]}],
        "grants": [
            {"subject": "role/editor", "actions": ["*"], "read": media, "write": media},
            {
                "subject": "role/editor",
                "actions": ["submit"],
                "read": secret,
                "write": secret,
                "effect": "deny",
            },
        ],
        "limits": [
            {"id": "burst", "kind": "rate", "per_second": 100_000, "burst": 1_000_000},
            {"id": "daily", "kind": "day", "max": 10**9},
        ],
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
