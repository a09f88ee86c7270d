"""How a server of the bench says where it listens, and learns that it is to end.

It ends with its standard input, so none outlives the bench, however that ends.
"""

from __future__ import annotations

import asyncio
import json
import sys


async def until_input_ends(port: int) -> None:
    """Print the port as a JSON line, and return when standard input ends."""
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Nothing is ever written there: that it can be read means that it has ended.
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()
    loop.remove_reader(sys.stdin)
