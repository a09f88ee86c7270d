"""Kills gateways at every durable step of a submit, and holds the books against each other.

    python -m tests.reliability [--kills N] [--seed N] [--database NAME] [--output FILE]

Naive gateways follow, so that one sees what the same books say of those. Exits 0 when every point
was reached, nothing was found, and in each naive gateway what is wrong with it; 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import secrets
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.reliability import report, suite
from tests.reliability.campaign import Outcome
from tests.reliability.ledgers import LEDGERS, sqlite_file
from tests.reliability.lives import ROOT, Launcher
from tests.reliability.naive import NAIVE, VARIANTS
from tests.reliability.points import Point
from tests.reliability.suite import Tally

KILLS: Final = 300
NAIVE_KILLS: Final = 24


def main() -> int:
    """Run the suite and return the exit code."""
    options = _options()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    tallies, naive = asyncio.run(_run(console, options))
    report.print_all(console, tallies)
    report.print_naive(console, naive)
    report.write_json(options.output, [*tallies, *naive])
    faults = [*_faults(tallies, options.kills), *_unseen(naive)]
    for fault in faults or ["Nothing was submitted twice, and nothing was lost."]:
        console.print(fault, markup=False)
    return 1 if faults else 0


async def _run(console: Console, options: argparse.Namespace) -> tuple[list[Tally], list[Tally]]:
    """Run the campaigns below build/, since a RAM disk would sync for nothing."""
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    tallies, naive = [], []
    plans = [*suite.everywhere(options.seed, math.ceil(options.kills / len(Point)))]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=build, prefix="kill-")))
        launcher = await stack.enter_async_context(Launcher())
        for name in options.database or LEDGERS:
            new_ledger = stack.enter_context(LEDGERS[name]())
            tallies.append(tally := Tally(name, options.seed))
            async for outcome in suite.run(plans, launcher, folder, new_ledger, tally):
                console.print(f"{name}, {tally.campaigns} of {len(plans)}: {_line(outcome)}")
        for variant in NAIVE:
            plan = suite.against(variant, options.seed, NAIVE_KILLS)
            naive.append(tally := Tally(variant.name, options.seed))
            async for outcome in suite.run([plan], launcher, folder, sqlite_file, tally):
                console.print(f"{variant.name}: {_line(outcome)}")
    return tallies, naive


def _faults(tallies: Sequence[Tally], kills: int) -> Iterator[str]:
    for tally in tallies:
        if tally.missed:
            yield f"{tally.subject}: nobody was killed at {', '.join(tally.missed)}"
        if tally.kills.total() < kills:
            yield f"{tally.subject}: only {tally.kills.total()} kills"
        if tally.violations:
            yield f"{tally.subject}: the books do not agree"


def _unseen(naive: Sequence[Tally]) -> Iterator[str]:
    for tally in naive:
        seen = {violation.kind for violation in tally.violations}
        for fault in sorted(VARIANTS[tally.subject].faults - seen):
            yield f"{tally.subject}: the suite did not see that {fault}"


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
