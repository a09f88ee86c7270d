"""imsgw serve as a process of its own, and what it says while it runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from ims_gateway.emulator.server import Emulator
from tests.integration.world import ENVIRONMENT, PEPPER, tenant_file

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[2]
# Generous: a machine that is busy with something else is no reason to fail.
DEADLINE_SECONDS = 120


def imsgw(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of imsgw to its end."""
    return subprocess.run(
        [BIN / "imsgw", *arguments],
        env={"PATH": os.environ["PATH"], "NO_COLOR": "1", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def configuration(
    folder: Path, key: str, emulator: Emulator | None = None, **settings: Any
) -> dict[str, str]:
    """Write a configuration and return the environment that goes with it."""
    (folder / "tenants").mkdir()
    account: dict[str, Any] = {"name": "main", "region": "cn-shanghai"}
    if emulator is None:
        # Nobody listens on port 1: a submit is surely not sent.
        account |= {"endpoint": "127.0.0.1:1"}
    else:
        account |= {"endpoint": emulator.https_endpoint, "ca_file": str(emulator.ca_file)}
    files = {
        "accounts.yaml": {"accounts": [account]},
        "tenants/acme.yaml": tenant_file("acme", key),
    }
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
    values = {
        "config_dir": folder,
        "key_pepper": PEPPER,
        "database_url": f"sqlite:///{folder / 'ledger.db'}",
        "decision_log": folder / "decisions.jsonl",
        "listen": "127.0.0.1:0",
        "metrics_listen": "",
        **settings,
    }
    return ENVIRONMENT | {f"IMSGW_{name.upper()}": str(value) for name, value in values.items()}


@dataclass
class Served:
    """A process of imsgw serve, and the lines of its log so far."""

    process: subprocess.Popen[str]
    events: list[dict[str, Any]] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _over: bool = False

    def read(self) -> None:
        """Read the log to its end, in a thread of its own."""
        for line in self.process.stderr or ():
            with self._news:
                self.events.append(json.loads(line) if line.startswith("{") else {"event": line})
                self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()

    def event(self, name: str, *, after: int = 0, **fields: Any) -> dict[str, Any]:
        """Wait for a line of the log with that event and these fields, and return it."""
        wanted = {"event": name, **fields}

        def found() -> dict[str, Any] | None:
            lines = (line for line in self.events[after:] if wanted.items() <= line.items())
            return next(lines, None)

        with self._news:
            self._news.wait_for(lambda: found() or self._over, DEADLINE_SECONDS)
            line = found()
        assert line is not None, (wanted, self.events)
        return line

    @property
    def target(self) -> str:
        """The address it serves."""
        return f"127.0.0.1:{self.event('serving')['port']}"

    @property
    def admin_target(self) -> str:
        """The address of its server for probes and operators."""
        return f"127.0.0.1:{self.event('serving')['admin_port']}"

    def worker(self, number: int) -> int:
        """Return the id of the process that is this worker."""
        told = [line for line in self.events if line["event"] == "worker serves"]
        return next(line["pid"] for line in reversed(told) if line["worker"] == number)

    def stop(self) -> int:
        """Tell it to stop, wait for that, and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)


@contextmanager
def served(environment: dict[str, str]) -> Iterator[Served]:
    """Run imsgw serve, with its workers; yields when it serves."""
    process = subprocess.Popen(
        [BIN / "imsgw", "serve"],
        env={"PATH": os.environ["PATH"], **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    running = Served(process)
    reader = threading.Thread(target=running.read)
    reader.start()
    try:
        running.event("serving")
        yield running
    finally:
        # Workers end with the process that watches over them.
        process.kill()
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


def gone(pid: int) -> bool:
    """Say whether a process is no more."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
