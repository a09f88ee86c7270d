"""Limits and days of use, drawn as bars for people.

Decides how long a bar is and what stands beside it. Prints nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from rich.table import Table
from rich.text import Text

from ims_gateway_client.cli.console import plain
from ims_gateway_client.cli.tables import time_text
from imsgateway.v1.quota_service_pb2 import GetUsageResponse, ListUsageHistoryResponse

WIDTH: Final = 24
# Shares of a limit from which on a bar is yellow, and red.
_NEAR: Final = 0.8
_FULL: Final = 1.0
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_MICROS: Final = 1_000_000


def bar(share: float, width: int = WIDTH) -> str:
    """Return a bar for a share of the width; more than nothing is never drawn as nothing."""
    eighths = min(round(max(share, 0.0) * width * 8), width * 8)
    if share > 0:
        eighths = max(eighths, 1)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(width)


def usage_table(usage: GetUsageResponse) -> Table:
    """Return one bar a limit."""
    table = _table()
    for limit in usage.limits:
        share = limit.used / limit.limit if limit.limit else float(limit.used > 0)
        money = usage.currency if limit.metric.startswith("cost/") else ""
        used, most = _amount(limit.used, money), _amount(limit.limit, money)
        table.add_row(
            plain(limit.limit_id),
            Text(bar(share), style=_style(share)),
            f"{used} of {most}{f' {plain(money)}' if money else ''}",
            Text(", ".join(_about(limit)), style="dim"),
        )
    return table


def history_table(history: ListUsageHistoryResponse) -> Table:
    """Return one bar a day, in jobs, as long as it is beside the day of most use."""
    jobs = [sum(used.jobs for used in day.algorithms) for day in history.days]
    most = max(jobs, default=0)
    table = _table()
    for day, count in zip(history.days, jobs, strict=True):
        cost = sum(used.cost_micros for used in day.algorithms)
        money = f", {_amount(cost, history.currency)} {plain(history.currency)}"
        by = {used.algorithm: used.jobs for used in day.algorithms}
        table.add_row(
            plain(day.date),
            Text(bar(count / most if most else 0), style="cyan"),
            f"{count} jobs{money if history.currency else ''}",
            Text(_by_algorithm(by), style="dim"),
        )
    return table


def _table() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    return table


def _about(limit: GetUsageResponse.LimitUsage) -> Iterable[str]:
    yield plain(limit.metric)
    for name, value in sorted(limit.dimensions.items()):
        yield f"{plain(name)} {plain(value)}"
    if limit.shadow:
        yield "on trial"
    if limit.HasField("reset_time"):
        yield f"until {time_text(limit.reset_time)}"


def _by_algorithm(jobs: Mapping[str, int]) -> str:
    ranked = sorted(jobs.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{plain(name).replace('_', '-')} {count}" for name, count in ranked)


def _amount(amount: int, money: str) -> str:
    return f"{amount / _MICROS:.2f}" if money else str(amount)


def _style(share: float) -> str:
    if share >= _FULL:
        return "red"
    return "yellow" if share >= _NEAR else "green"
