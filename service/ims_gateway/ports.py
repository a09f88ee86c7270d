"""Ports that the processes of one gateway share, and no other gateway.

The kernel spreads connections over all sockets of a port that ask to share it, whoever they belong
to: two gateways on one machine would take each other's callers without a word. So the process that
watches over the others holds the port as well, in a way that turns away everybody who begins anew.
What it never does: take a connection.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any, Final

# Connections that a gateway has closed stay for a minute after it, and may be in the way.
LEFTOVERS_SECONDS: Final = 65.0
LOOK_SECONDS: Final = 0.5


class PortTaken(Exception):  # noqa: N818 - it says what was found
    """An address cannot be listened on: somebody does already, or it is not this machine's."""

    def __init__(self, setting: str, address: str) -> None:
        super().__init__(f"{setting}: {address} is in use, or is no address of this machine")


@dataclass(frozen=True, slots=True)
class Reservation:
    """An address, its port as a number, that is kept from others until it is closed."""

    address: str
    _held: ExitStack = field(default_factory=ExitStack, repr=False)

    def close(self) -> None:
        """Let others have it."""
        self._held.close()


async def reserve(setting: str, address: str) -> Reservation:
    """Take "host:port" for processes that share it; port 0 stands for any that is free.

    Waits where only leftovers of a gateway that has just ended are in the way. Raises PortTaken.
    """
    host, _, port = address.rpartition(":")
    clock = asyncio.get_running_loop().time
    until = clock() + LEFTOVERS_SECONDS
    try:
        while True:
            places = socket.getaddrinfo(
                host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for place in places:
                _ask_for(place)
            if reserved := _reserved(host, places):
                return reserved
            if clock() > until:
                raise PortTaken(setting, address)
            await asyncio.sleep(LOOK_SECONDS)
    except OSError:
        raise PortTaken(setting, address) from None


def _ask_for(place: Any) -> None:
    """Raise OSError where somebody listens at the place, or holds it as `_reserved` does.

    A socket that may use an address again is let past leftovers, and past nobody who is there.
    """
    family, kind, protocol, _, address = place
    with closing(socket.socket(family, kind, protocol)) as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        asking.bind(address)


def _reserved(host: str, places: Sequence[Any]) -> Reservation | None:
    """Hold the places, all with one port; None where something is in the way.

    Without SO_REUSEADDR: only so does the kernel tell others who have it that there is a conflict.
    """
    port = 0
    with ExitStack() as stack:
        for family, kind, protocol, _, address in places:
            held = stack.enter_context(closing(socket.socket(family, kind, protocol)))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                held.bind((address[0], address[1] or port, *address[2:]))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return None
                raise
            port = held.getsockname()[1]
        return Reservation(f"{host}:{port}", stack.pop_all())
