"""Starts gateways by forking: everything is imported once, so that a start costs a fraction of it.

    python -m tests.reliability.launcher        one line of JSON on standard input, one gateway

Nothing runs before the fork: no thread, no event loop, and nothing of gRPC but its module. Each
gateway holds a leash, a socket to whoever asked for it. It says there that it serves and where it
dies; a line that it reads there lets it drain; and it ends when nobody holds the other end.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from ims_gateway.app import gateway, microseconds
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.postgres import PostgresDatabase
from ims_gateway.jobs.store import Store
from ims_gateway.settings import Settings
from ims_gateway.telemetry import logs
from tests.reliability.mortal import MortalGates, Mortality, MortalLedger, MortalStore
from tests.reliability.naive import VARIANTS, Variant
from tests.reliability.points import Doom, Point

# Imported by the product when a URL asks for it; here, once for all.
PRELOADED: Final = (PostgresDatabase,)
DRAIN_SECONDS: Final = 30.0


def main() -> None:
    """Fork a gateway for each line, until there are no more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the leash tells of a death; nobody waits
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        if _threads() > 1:
            raise SystemExit("a thread runs: a fork would be half a process")
        if os.fork() == 0:
            _live(json.loads(line))


def _threads() -> int:
    """Count them, with those that only the kernel knows of where it says so."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()


def _live(order: dict[str, Any]) -> None:
    """Be a gateway, and never return."""
    try:
        _speak_into(Path(order["log"]))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        leash = socket.socket(socket.AF_UNIX)
        leash.connect(order["leash"])
        asyncio.run(_serve(order, leash))
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _speak_into(log: Path) -> None:
    opened = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number in (1, 2):
        os.dup2(opened, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    logs.configure()


async def _serve(order: dict[str, Any], leash: socket.socket) -> None:
    def say(**news: Any) -> None:
        leash.sendall(json.dumps(news).encode() + b"\n")

    doom = order["doom"]
    mortality = Mortality(
        Doom(Point(doom[0]), doom[1]) if doom else None, lambda point: say(killed=point)
    )
    variant = VARIANTS[order["variant"]]
    say(number=order["number"], pid=os.getpid())
    async with gateway(
        Settings(**order["settings"]),
        order["environment"],
        clock=lambda: microseconds() + order["ahead_microseconds"],
        ledger_of=partial(_ledger, variant, mortality),
        gates_of=partial(MortalGates, mortality=mortality, client_of=variant.client_of),
    ) as running:
        say(serving=True)
        if not await _told(leash):
            os._exit(1)
        await running.drain(DRAIN_SECONDS)
    say(stopped=True)


def _ledger(
    variant: Variant, mortality: Mortality, store: Store, clock: Callable[[], int]
) -> Ledger:
    ledger = MortalLedger(variant.ledger_of(MortalStore(store, mortality), clock))
    return cast("Ledger", ledger)  # in all but name: it hands everything on


async def _told(leash: socket.socket) -> bool:
    """Wait for a word; say whether there was one, or nobody is there any more."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(leash, readable.set)
    try:
        await readable.wait()
        return bool(leash.recv(1))
    finally:
        loop.remove_reader(leash)


if __name__ == "__main__":
    main()
