"""Races of 1,000 callers for a limit of 100, for each kind of limit, on each kind of database.

    python -m tests.reliability.races [--callers N]

A gateway that checks first and writes later runs in the same race, so that one sees what the race
says of that. Exits 0 when only that one overspends a limit and none is left with room, else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.reliability.ledgers import LEDGERS, sqlite_file
from tests.reliability.lives import ROOT, Launcher
from tests.reliability.rivals import LIMITS, MOST, Race, race

CALLERS: Final = 1000
NAIVE: Final = "check, then act"


def main() -> int:
    """Run the races and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.races", description=__doc__)
    parser.add_argument("--callers", type=int, default=CALLERS, help="of each tenant")
    found = asyncio.run(_run(parser.parse_args().callers))
    naive = found.pop(NAIVE)
    faults = [name for name, each in found.items() if not _right(each)]
    if unseen := [tenant for tenant in LIMITS if naive.accepted[tenant] <= MOST]:
        faults.append(f"{NAIVE} was not found out: {', '.join(unseen)}")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(_table({**found, NAIVE: naive}))
    for fault in faults or ["No limit was overspent, and none was left with room."]:
        console.print(fault, markup=False)
    return 1 if faults else 0


async def _run(callers: int) -> dict[str, Race]:
    found = {}
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        launcher = await stack.enter_async_context(Launcher())
        for name in (*LEDGERS, NAIVE):
            own = stack.enter_context(tempfile.TemporaryDirectory(dir=build, prefix="race-"))
            folder = Path(own)
            if name == NAIVE:
                url = sqlite_file(folder)
                found[name] = await race(launcher, folder, url, callers=callers, variant=NAIVE)
            else:
                url = stack.enter_context(LEDGERS[name]())(folder)
                found[name] = await race(launcher, folder, url, callers=callers)
    return found


def _right(found: Race) -> bool:
    exactly = dict.fromkeys(LIMITS, MOST)
    return found.accepted == found.admitted == exactly and not (found.other or found.disagreeing)


def _table(found: dict[str, Race]) -> Table:
    table = Table("jobs that the service took", title=f"Races for {MOST} places")
    for name in found:
        table.add_column(name, justify="right")
    for tenant in LIMITS:
        table.add_row(tenant, *(str(each.accepted[tenant]) for each in found.values()))
    table.add_section()
    disagreeing = (str(len(each.disagreeing)) for each in found.values())
    table.add_row("counters that disagree with the ledger", *disagreeing)
    table.add_row("other answers", *(str(len(each.other)) for each in found.values()))
    return table


if __name__ == "__main__":
    sys.exit(main())
