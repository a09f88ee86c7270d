"""The word to stop: said once it lets a process finish, said again it means hurry."""

from __future__ import annotations

import asyncio
import signal
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """Whether a process is to stop. Made in its event loop."""

    def __init__(self) -> None:
        self.said = asyncio.Event()
        self.in_a_hurry = asyncio.Event()

    def say(self) -> None:
        """Say it, once more if it was said before."""
        (self.in_a_hurry if self.said.is_set() else self.said).set()

    def hear_signals(self) -> None:
        """Let SIGTERM and SIGINT say it."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.say)
