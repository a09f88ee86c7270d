"""Holds the ledger against a provider's bill, and says what either side lacks.

A bill is CSV with a head line that has `job_id` (the service's own), `algorithm` (the contract's
name or the service's) and `amount` (decimal, in the currency). A job may stand on several lines;
their amounts add up. Pure.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from ims_gateway.algorithms.table import TABLE
from ims_gateway.jobs.audit import Taken

COLUMNS: Final = frozenset({"job_id", "algorithm", "amount"})
MICROS: Final = 1_000_000
ALGORITHMS: Final = {row.function_name: row.field for row in TABLE}


class BillError(Exception):
    """A bill that cannot be read; the text says where."""


@dataclass(frozen=True, slots=True)
class Billed:
    """What the bill has of one job; `amount` in micro-units."""

    job_id: str
    algorithm: str
    amount: int


@dataclass(frozen=True, slots=True)
class Pair:
    """A job that both sides have."""

    billed: Billed
    taken: Taken


@dataclass(frozen=True, slots=True)
class Findings:
    """What the two sides say of each other.

    `unknown` are jobs of which the ledger does not know whether the service took them: what the
    bill alone has may be one of them.
    """

    matched: int
    only_billed: tuple[Billed, ...]
    only_in_ledger: tuple[Taken, ...]
    other_algorithm: tuple[Pair, ...]
    other_amount: tuple[Pair, ...]
    unknown: tuple[Taken, ...]

    @property
    def agree(self) -> bool:
        """Whether neither side lacks anything and nothing differs."""
        return not (
            self.only_billed or self.only_in_ledger or self.other_algorithm or self.other_amount
        )


def read_bill(lines: Iterable[str]) -> list[Billed]:
    """Return the bill's jobs. Raises BillError."""
    rows = csv.DictReader(lines)
    names = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
    if missing := sorted(COLUMNS - names.keys()):
        raise BillError(f"line 1: no column {', '.join(missing)}")
    found: dict[str, Billed] = {}
    for row in rows:
        job_id, algorithm, amount = (
            (row[names[column]] or "").strip() for column in ("job_id", "algorithm", "amount")
        )
        if not job_id:
            raise BillError(f"line {rows.line_num}: no job_id")
        before = found.get(job_id)
        micros = _micros(amount, rows.line_num) + (before.amount if before else 0)
        found[job_id] = Billed(job_id, ALGORITHMS.get(algorithm, algorithm), micros)
    return list(found.values())


def reconcile(bill: Sequence[Billed], taken: Sequence[Taken], unknown: Sequence[Taken]) -> Findings:
    """Compare a bill with the jobs that the ledger says the service took."""
    ours = {job.upstream_job_id: job for job in taken}
    theirs = {job.job_id for job in bill}
    pairs = [Pair(job, ours[job.job_id]) for job in bill if job.job_id in ours]
    return Findings(
        matched=len(pairs),
        only_billed=tuple(job for job in bill if job.job_id not in ours),
        only_in_ledger=tuple(job for job in taken if job.upstream_job_id not in theirs),
        other_algorithm=tuple(p for p in pairs if p.billed.algorithm != p.taken.algorithm),
        other_amount=tuple(p for p in pairs if p.billed.amount != p.taken.cost),
        unknown=tuple(unknown),
    )


def _micros(text: str, line: int) -> int:
    try:
        micros = Decimal(text) * MICROS
        if micros == micros.to_integral_value():
            return int(micros)
    except (InvalidOperation, ValueError, OverflowError):
        pass
    raise BillError(f"line {line}: amount {text!r} is not a number of at most 6 decimals")
