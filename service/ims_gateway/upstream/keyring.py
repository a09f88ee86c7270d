"""The keys of all accounts, kept fresh in the background.

Decides who is told of a key that cannot be renewed: the log, and whoever asks for `problems` and
`time_left`. What it never does: stop anything. An account without a key has its calls refused, and
the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, Self, TypeVar

import structlog

from ims_gateway.upstream.credentials import CredentialsProvider, FileCredentials
from ims_gateway.upstream.renewal import LONGEST_PAUSE_SECONDS, RenewedCredentials

# How long a start waits for the first keys; a gateway that has none by then starts all the same.
LONGEST_START_SECONDS: Final = 10.0
# Between two looks at files of keys. A call looks, too, so this is for accounts without calls.
LOOK_SECONDS: Final = 5.0

Kind = TypeVar("Kind")
log = structlog.get_logger()


class Keyring:
    """An asynchronous context manager; when it is entered, every account had its first try.

    Or `start_seconds` have passed. told: called after each change of `problems`.
    """

    def __init__(
        self,
        providers: Mapping[str, CredentialsProvider],
        told: Callable[[], None],
        start_seconds: float = LONGEST_START_SECONDS,
    ) -> None:
        self._start_seconds = start_seconds
        self._renewed = _of(RenewedCredentials, providers)
        self._files = _of(FileCredentials, providers)
        self._told = told
        self._tasks: list[asyncio.Task[None]] = []
        self._tried = {name: asyncio.Event() for name in self._renewed}
        self._known: dict[str, str] = {}

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong with the keys of accounts, by account; of the others nothing is said."""
        return self._known

    def time_left_seconds(self) -> Mapping[str, float]:
        """Return how long each account's key is good, 0 for none; without those that do not end."""
        left = {name: each.time_left_seconds for name, each in self._renewed.items()}
        return {name: seconds for name, seconds in left.items() if seconds is not None}

    async def __aenter__(self) -> Self:
        loops = [self._renew(name, each) for name, each in self._renewed.items()]
        if self._files:
            loops.append(self._look())
        self._tasks = [asyncio.create_task(each) for each in loops]
        with suppress(TimeoutError):
            async with asyncio.timeout(self._start_seconds):
                await asyncio.gather(*(tried.wait() for tried in self._tried.values()))
        for name in (name for name, tried in self._tried.items() if not tried.is_set()):
            self._note(name, "no key yet")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _renew(self, name: str, key: RenewedCredentials) -> None:
        """Keep a key fresh until cancelled. No failure ends it."""
        while True:
            try:
                pause = await key.renew()
            except Exception:
                log.exception("credentials cannot be renewed", account=name)
                self._note(name, "a fault of the gateway, see the log")
                pause = LONGEST_PAUSE_SECONDS
            else:
                self._note(name, key.problem)
                if key.problem is None:
                    log.info("credentials renewed", account=name, **self._ends_in(name))
            self._tried[name].set()
            await asyncio.sleep(pause)

    def _ends_in(self, name: str) -> dict[str, int]:
        left = self.time_left_seconds().get(name)
        return {} if left is None else {"ends_in_seconds": round(left)}

    async def _look(self) -> None:
        while True:
            for name, key in self._files.items():
                key.snapshot()
                self._note(name, key.problem)
            await asyncio.sleep(LOOK_SECONDS)

    def _note(self, name: str, problem: str | None) -> None:
        if problem == self._known.get(name):
            return
        if problem is None:
            del self._known[name]
            log.info("credentials in order again", account=name)
        else:
            self._known[name] = problem
            log.error(
                "credentials not renewed", account=name, problem=problem, **self._ends_in(name)
            )
        self._told()


def _of(kind: type[Kind], providers: Mapping[str, CredentialsProvider]) -> dict[str, Kind]:
    return {name: each for name, each in providers.items() if isinstance(each, kind)}
