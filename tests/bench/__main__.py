"""Measures the gateway against its floor and against the official SDK called directly.

    python -m tests.bench [--rounds N] [--seconds S] [--output FILE] [--strict]

Four contestants take turns, round after round, so that a machine that slows down slows all of them:
the floor, the gateway with everything on (one worker), the SDK in threads, the SDK under asyncio.
All call the same upstream and submit the same job. What the figures and goals mean is told in
`figures`; what a turn is, in `contestants`.

Exits 0 when everything ran, 1 when something did not (or, with --strict, when a goal was missed).
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.bench import contestants, figures, report
from tests.bench.children import ROOT, BenchError

CONTESTANTS: Final = (
    contestants.floor,
    contestants.full_gateway,
    contestants.sdk_sync,
    contestants.sdk_async,
)
INTERRUPTED: Final = 130


def main() -> int:
    """Run the bench and return the exit code."""
    options = _options()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    try:
        turns = asyncio.run(_run(console, options.rounds, options.seconds))
    except BenchError as error:
        console.print(f"[bold red]The bench failed.[/] {error}", markup=True)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("Interrupted.")
        return INTERRUPTED
    comparisons = figures.compare(turns)
    report.print_all(console, turns, comparisons)
    report.write_json(comparisons, options.output)
    missed = [entry.name for entry in comparisons if entry.met is False]
    console.print(f"Goals missed: {', '.join(missed)}" if missed else "All goals are met.")
    return 1 if options.strict and missed else 0


async def _run(console: Console, rounds: int, seconds: float) -> list[contestants.Turn]:
    """Let the contestants take turns. Files go below build/: a RAM disk would sync for nothing."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    turns = []
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "build") as scratch:
        async with contestants.upstream(Path(scratch) / "upstream") as service:
            for number in range(1, rounds + 1):
                for place, take_turn in enumerate(CONTESTANTS):
                    folder = Path(scratch) / f"{number}-{place}"
                    turn = await take_turn(service, folder, seconds)
                    report.print_turn(console, number, turn)
                    turns.append(turn)
    return turns


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant")
    parser.add_argument("--seconds", type=float, default=4.0, help="full load in each turn")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a goal is missed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
