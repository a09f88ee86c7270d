"""Runs an emulator as a program of its own.

Decides when it ends: at SIGINT or SIGTERM.
"""

import asyncio
import signal
from collections.abc import Callable

from ims_gateway.emulator.server import Emulator
from ims_gateway.emulator.settings import EmulatorSettings


async def run(settings: EmulatorSettings, *, ready: Callable[[Emulator], None]) -> None:
    """Serve until SIGINT or SIGTERM. ready: told once the listeners are open."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stopped.set)
    try:
        async with Emulator(settings) as emulator:
            ready(emulator)
            await stopped.wait()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
