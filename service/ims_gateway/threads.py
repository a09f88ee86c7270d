"""Waiting for what blocks, in a thread that nobody has to wait for.

The loop's own pool is for what surely ends soon: a few calls that hang would fill it, and a process
that ends waits for every one of them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def apart(name: str, function: Callable[[], T]) -> T:
    """Run a function in a daemon thread of this name; return or raise what comes of it.

    Where the waiting ends early, by a timeout or a cancellation, the thread goes on alone.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(outcome: Callable[[], None]) -> None:
        try:
            loop.call_soon_threadsafe(lambda: None if done.done() else outcome())
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            return

    def run() -> None:
        try:
            found = function()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            failure = error
            tell(lambda: done.set_exception(failure))
        else:
            tell(lambda: done.set_result(found))

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
