"""Prints what was measured, and writes the comparisons as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.bench.contestants import Turn
from tests.bench.figures import (
    Comparison,
    Figure,
    alone_p50_ms,
    cpu_us_per_job,
    idle_mb,
    jobs_per_second,
    p50_ms,
    p99_ms,
    spread,
)

COLUMNS: Final[tuple[tuple[str, Figure, str], ...]] = (
    ("jobs/s", jobs_per_second, ",.0f"),
    ("p50 ms", p50_ms, ",.1f"),
    ("p99 ms", p99_ms, ",.1f"),
    ("p50 ms, 1 in flight", alone_p50_ms, ",.2f"),
    ("CPU us/job", cpu_us_per_job, ",.0f"),
    ("idle MB", idle_mb, ",.0f"),
)
# With more of it taken by others, figures are not worth keeping.
QUIET_CORES: Final = 0.15
IN_JSON: Final = ("name", "gateway", "baseline", "ratio", "goal")


def write_json(comparisons: Sequence[Comparison], path: Path) -> None:
    """Write the comparisons as a list."""
    entries = [{name: getattr(entry, name) for name in IN_JSON} for entry in comparisons]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def print_turn(console: Console, number: int, turn: Turn) -> None:
    """Print one turn as it ends."""
    loaded = turn.loaded
    console.print(
        f"round {number}  {turn.contestant:<9}  {loaded.jobs_per_second:8,.0f} jobs/s  "
        f"p50 {loaded.p50_ms:8,.1f} ms  CPU {turn.cpu_us_per_job:8,.0f} us/job"
    )


def print_all(console: Console, turns: Sequence[Turn], comparisons: Sequence[Comparison]) -> None:
    """Print the figures of every contestant, what competed, and the comparisons."""
    names = list(dict.fromkeys(turn.contestant for turn in turns))
    console.print(_figures(turns, names))
    console.print(_competition(turns, names))
    console.print(
        "What keeps about one core busy is limited by itself; the rest of its row competes with it."
    )
    others = median([turn.cores["others"] for turn in turns])
    if others > QUIET_CORES:
        console.print(
            f"[bold yellow]Processes that are not part of the bench took {others:.2f} cores: "
            "run it again on a quiet machine.[/]"
        )
    console.print(_comparisons(comparisons))


def _figures(turns: Sequence[Turn], names: Sequence[str]) -> Table:
    title = f"Median of the rounds (least - most), Python {platform.python_version()}"
    table = Table(title=title, title_justify="left")
    table.add_column("contestant")
    for title, _, _ in COLUMNS:
        table.add_column(title, justify="right")
    for name in names:
        cells = []
        for _, figure, form in COLUMNS:
            found = spread(turns, name, figure)
            edges = f"({found.least:{form}} - {found.most:{form}})"
            cells.append(f"{found.middle:{form}}\n{edges}" if found.most else "")
        table.add_row(name, *cells)
    return table


def _competition(turns: Sequence[Turn], names: Sequence[str]) -> Table:
    cores = os.cpu_count()
    title = f"Cores kept busy under full load, of {cores}"
    table = Table(title=title, title_justify="left")
    columns = ("contestant", "itself", "driver", "upstream", "collector", "others")
    for column in columns:
        table.add_column(column, justify="left" if column == "contestant" else "right")
    for name in names:
        mine = [turn.cores for turn in turns if turn.contestant == name]
        shares = [
            median([cores.get(name if column == "itself" else column, 0.0) for cores in mine])
            for column in columns[1:]
        ]
        table.add_row(name, *(f"{share:.2f}" for share in shares))
    return table


def _comparisons(comparisons: Sequence[Comparison]) -> Table:
    table = Table(title="The gateway against the others", title_justify="left")
    for column in ("figure", "gateway", "baseline", "ratio", "goal", "met"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for entry in comparisons:
        table.add_row(
            entry.name,
            f"{entry.gateway:,.2f}",
            f"{entry.baseline:,.2f}",
            f"{entry.ratio:.2f}",
            "" if entry.goal is None else f"{entry.goal:g}",
            {None: "", True: "yes", False: "[bold red]NO[/]"}[entry.met],
        )
    return table
