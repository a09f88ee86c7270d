"""Shows what the suite did and found, as a table and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.reliability.books import Kind
from tests.reliability.points import Point
from tests.reliability.suite import Tally


def print_all(console: Console, tallies: Sequence[Tally]) -> None:
    """Print the kills by point and database, and what the books said."""
    console.print(_kills(tallies))
    console.print(_findings(tallies))
    for tally in tallies:
        for violation in tally.violations:
            console.print(f"{tally.subject}: {violation}", markup=False)


def print_naive(console: Console, tallies: Sequence[Tally]) -> None:
    """Print what is found in gateways that are naive."""
    table = Table("found by the same suite", title="Naive gateways")
    for tally in tallies:
        table.add_column(tally.subject, justify="right")
    table.add_row("gateways killed", *(str(tally.kills.total()) for tally in tallies))
    table.add_section()
    found = [Counter(violation.kind for violation in tally.violations) for tally in tallies]
    for kind in Kind:
        if any(counts[kind] for counts in found):
            table.add_row(kind, *(str(counts[kind]) for counts in found))
    console.print(table)


def write_json(path: Path, tallies: Sequence[Tally]) -> None:
    """Write the same as a list, one entry a database or naive gateway."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([_entry(tally) for tally in tallies], indent=2) + "\n", "utf-8")


def _kills(tallies: Sequence[Tally]) -> Table:
    table = Table("killed at", title="Gateways killed (SIGKILL)")
    for tally in tallies:
        table.add_column(tally.subject, justify="right")
    for point in Point:
        table.add_row(point, *(str(tally.kills[point]) for tally in tallies))
    table.add_section()
    table.add_row("together", *(str(tally.kills.total()) for tally in tallies))
    return table


def _findings(tallies: Sequence[Tally]) -> Table:
    table = Table("", title="What the books say")
    for tally in tallies:
        table.add_column(tally.subject, justify="right")
    rows: dict[str, list[Any]] = {
        "campaigns": [tally.campaigns for tally in tallies],
        "seed": [tally.seed for tally in tallies],
        "seconds": [round(tally.seconds) for tally in tallies],
        "lives that did not come to their point": [tally.put_off.total() for tally in tallies],
        "request ids": [tally.request_ids for tally in tallies],
        "jobs accepted by the service": [tally.accepted for tally in tallies],
    }
    for state in sorted({state for tally in tallies for state in tally.states}):
        rows[f"jobs {state} in the ledger"] = [tally.states[state] for tally in tallies]
    rows["violations"] = [len(tally.violations) for tally in tallies]
    for name, values in rows.items():
        table.add_row(name, *map(str, values))
    return table


def _entry(tally: Tally) -> dict[str, Any]:
    return {
        "subject": tally.subject,
        "seed": tally.seed,
        "seconds": round(tally.seconds, 1),
        "campaigns": tally.campaigns,
        "kills": {point: tally.kills[point] for point in Point},
        "kills_together": tally.kills.total(),
        "put_off": dict(tally.put_off),
        "request_ids": tally.request_ids,
        "accepted": tally.accepted,
        "states": dict(tally.states),
        "violations": [str(violation) for violation in tally.violations],
    }
