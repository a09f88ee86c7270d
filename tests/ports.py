"""Ports for programs of the tests that have to be told theirs beforehand."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import suppress

# Below those that the system gives to whoever asks for any: a program that starts anew is to find
# its port free, however many tests run beside it. Each process begins at a place of its own.
FIRST = 20_000
COUNT = 12_000
_numbers = itertools.count(os.getpid() * 50)


def free_port() -> int:
    """Return a port that nobody has."""
    for number in _numbers:
        port = FIRST + number % COUNT
        with suppress(OSError), socket.socket() as asking:
            asking.bind(("127.0.0.1", port))
            return port
    raise AssertionError


def free_address() -> str:
    """Return an address on which nobody listens."""
    return f"127.0.0.1:{free_port()}"
