"""A real Prometheus for the tests, where one is installed; gone when they end."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.ports import free_address

READY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A server that reads its targets every second or so."""

    api: httpx.Client

    def instant(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """Return the series of an expression, now or at a time, each with `metric` and `value`."""
        moment = {} if at is None else {"time": at}
        return self._ask("query", query=expression, **moment)["result"]

    def over(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Return the series of an expression over a time, each with its `metric` and `values`."""
        span = {"start": start, "end": end, "step": step}
        return self._ask("query_range", query=expression, **span)["result"]

    def exemplars(self, expression: str, start: float, end: float) -> list[dict[str, Any]]:
        """Return the exemplars of the series that an expression reads."""
        return self._ask("query_exemplars", query=expression, start=start, end=end)

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules, each with its `health` and `lastError`."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def _ask(self, what: str, **parameters: Any) -> Any:
        answer = self.api.get(f"/api/v1/{what}", params=parameters)
        document = answer.json()
        assert document["status"] == "success", f"{parameters}: {document.get('error')}"
        return document["data"]


def installed(program: str) -> str:
    """Return where a program of Debian's package prometheus is, or skip the test.

    Where everything has to be tested (CI is set), its absence is a failure.
    """
    found = shutil.which(program)
    if found is None:
        missing = f"{program}, of Debian's package prometheus, is not installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@contextmanager
def running(
    program: str,
    folder: Path,
    targets: Mapping[str, Mapping[str, str]],
    rules: Sequence[Path] = (),
    *,
    interval: str = "1s",
) -> Iterator[Prometheus]:
    """Run a server on these targets, addresses with the labels of each, read so often."""
    address = free_address()
    configuration = {
        "global": {"scrape_interval": interval, "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [
            {
                "job_name": "ims-gateway",
                "static_configs": [
                    {"targets": [target], "labels": dict(labels)}
                    for target, labels in targets.items()
                ],
            }
        ],
    }
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    command = [
        program,
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=30) as api:
            _await_ready(api, process)
            yield Prometheus(api)
    finally:
        process.terminate()
        process.wait()


def _await_ready(api: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if api.get("/-/ready").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise TimeoutError("Prometheus does not serve")
