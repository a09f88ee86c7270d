"""Keeps a sandbox up: gRPC 127.0.0.1:50051, metrics 127.0.0.1:9464, emulator 127.0.0.1:8089."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from rich.console import Console

from ims_gateway.app import gateway
from ims_gateway.emulator.server import Emulator
from ims_gateway.emulator.settings import AccessKey, EmulatorSettings
from ims_gateway.sandbox import configuration
from ims_gateway.telemetry import logs, prometheus


async def stay_up(folder: Path) -> None:
    """Serve until SIGINT or SIGTERM.

    API keys are written to <folder>/<tenant>.key, the operator's to <folder>/operator.key.
    """
    logs.configure()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    secret = configuration.account_secret()
    emulated = EmulatorSettings(
        access_keys={configuration.ACCESS_KEY_ID: AccessKey(secret)},
        job_seconds=5.0,
        http_port=8089,
        https_port=0,
        certificates_folder=folder,
    )
    async with Emulator(emulated) as emulator:
        sandbox = configuration.write(
            folder, emulator, secret, listen="127.0.0.1:50051", metrics_listen="127.0.0.1:9464"
        )
        async with gateway(sandbox.settings, sandbox.environment) as running:
            with prometheus.shown(running.metrics, sandbox.settings.metrics_listen):
                _introduce(folder, sandbox)
                await stopped.wait()
                await running.drain(sandbox.settings.drain_seconds)


def _introduce(folder: Path, sandbox: configuration.Sandbox) -> None:
    for name, key in {**sandbox.api_keys, "operator": sandbox.operator_key}.items():
        path = folder / f"{name}.key"
        path.touch(mode=0o600)
        path.write_text(f"{key}\n", encoding="utf-8")
    console = Console(highlight=False)
    console.print("gRPC      127.0.0.1:50051")
    console.print("metrics   http://127.0.0.1:9464/metrics")
    console.print("emulator  http://127.0.0.1:8089/emulator/jobs")
    console.print(f"decisions {folder / 'decisions.jsonl'}\n")
    console.print("Submit a job from another terminal:")
    console.print(
        f"  .venv/bin/imsctl --api-key-file {folder / 'acme.key'} submit cover "
        "--input oss://acme-media/in.mp4 --wait\n",
        soft_wrap=True,
    )
    console.print("See what was decided, as the platform's operator:")
    console.print(
        f"  .venv/bin/imsgw decisions list --api-key-file {folder / 'operator.key'}", soft_wrap=True
    )
