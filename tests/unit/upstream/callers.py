"""Callers of an account whose calls take some time, for stories in virtual time."""

from __future__ import annotations

import asyncio

from ims_gateway.errors import TryLater

LONG = 30


async def call(slots, standing, seconds, log, patience=LONG):
    """Make one call that takes so long; note its tenant, when it came, went out and ended."""
    now = asyncio.get_running_loop().time
    came = now()
    async with slots.place(standing) as place:
        if refusal := place.refusal(patience):
            return refusal
        if not place.taken:
            try:
                await place.wait(patience)
            except TryLater as late:
                return late
        went = now()
        place.spend()
        await asyncio.sleep(seconds)
    log.append((standing.tenant, came, went, now()))
    return None
