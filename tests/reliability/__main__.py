"""Kills gateways at every durable step of a submit, and holds the books against each other.

    python -m tests.reliability [--kills N] [--seed N] [--database NAME] [--output FILE]

Exits 0 when every point was reached and nothing was found, 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import secrets
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.reliability import report, suite
from tests.reliability.campaign import Outcome
from tests.reliability.ledgers import LEDGERS
from tests.reliability.lives import ROOT, Launcher
from tests.reliability.points import Point

KILLS: Final = 300


def main() -> int:
    """Run the suite and return the exit code."""
    options = _options()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    tallies = asyncio.run(_run(console, options))
    report.print_all(console, tallies)
    report.write_json(options.output, tallies)
    sound = True
    for tally in tallies:
        if tally.missed:
            console.print(f"{tally.database}: nobody was killed at {', '.join(tally.missed)}")
        enough = tally.kills.total() >= options.kills
        sound = sound and enough and not (tally.missed or tally.violations)
    console.print("Nothing was submitted twice, and nothing was lost." if sound else "FAILED")
    return 0 if sound else 1


async def _run(console: Console, options: argparse.Namespace) -> list[suite.Tally]:
    """Run the campaigns below build/, since a RAM disk would sync for nothing."""
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    tallies = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=build, prefix="kill-")))
        launcher = await stack.enter_async_context(Launcher())
        for name in options.database or LEDGERS:
            new_ledger = stack.enter_context(LEDGERS[name]())
            tally = suite.Tally(name, options.seed)
            tallies.append(tally)
            plans = [*suite.everywhere(options.seed, math.ceil(options.kills / len(Point)))]
            async for outcome in suite.run(plans, launcher, folder, new_ledger, tally):
                console.print(f"{name}, {tally.campaigns} of {len(plans)}: {_line(outcome)}")
    return tallies


def _line(outcome: Outcome) -> str:
    return (
        f"{outcome.kills.total()} kills, {outcome.request_ids} request ids, "
        f"{outcome.accepted} accepted, {len(outcome.violations)} violations"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help="at least, on each database")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="of the dice")
    parser.add_argument("--database", action="append", choices=[*LEDGERS], help="default: all")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "reliability.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
