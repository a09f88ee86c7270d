"""imsgw quota and imsgw reconcile: counters, limits and costs, for operators.

They read the ledger's database and the configuration's files, and change nothing. Decides the words
and the exit codes: 0 where all is well, 1 where something differs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from ims_gateway import reconciliation
from ims_gateway.cli.ledgers import DIFFERENT, UNUSABLE, ledger
from ims_gateway.jobs import audit
from ims_gateway.quota.limits import BudgetLimit, Demand, Limit, RateLimit, counted, dimensions_of
from ims_gateway.quota.prices import PriceList
from ims_gateway.tenancy.directory import Directory
from ims_gateway.tenancy.limits_file import ALGORITHMS
from ims_gateway.tenancy.loading import load
from ims_gateway.tenancy.reading import ConfigurationError
from ims_gateway.tenancy.tenant import Tenant

MICROSECONDS: Final = 1_000_000
Output = Annotated[str, typer.Option(help="table or json.")]
ConfigDir = Annotated[
    Path,
    typer.Option(envvar="IMSGW_CONFIG_DIR", help="Folder with tenants/*.yaml.", show_envvar=True),
]

app = typer.Typer(help="Limits and their use.", no_args_is_help=True)


@app.command()
def verify(output: Output = "table") -> None:
    """Recompute every counter from the ledger and report differences; exit code 1 if any."""
    with ledger() as db:
        counts = audit.recount(db)
        misplaced = audit.misplaced_holds(db)
    different = [count for count in counts if count.counted != count.held]
    if output == "json":
        _print_json(
            counters=len(counts),
            differences=[asdict(count) for count in different],
            misplaced_holds=[asdict(hold) for hold in misplaced],
        )
    else:
        rows = [[*_where(each), str(each.counted), str(each.held)] for each in different]
        rows += [[*_where(each), each.state, f"job {each.job_id}"] for each in misplaced]
        if rows:
            head = ("tenant", "limit", "counted for", "window", "counted", "by the ledger")
            _print_table(head, rows)
        typer.echo(f"{len(counts)} counters, {len(rows)} differences")
    if different or misplaced:
        raise typer.Exit(DIFFERENT)


@app.command()
def effective(
    *,
    config_dir: ConfigDir,
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")],
    principal: Annotated[str, typer.Option(help="Name of the caller.")] = "",
    algorithm: Annotated[str, typer.Option(help="The job's algorithm.")],
    model: Annotated[str, typer.Option(help="The algorithm's model, for its price.")] = "*",
    media_seconds: Annotated[
        float | None, typer.Option(min=0, help="Declared duration of the job's media.")
    ] = None,
    output: Output = "table",
) -> None:
    """Show the limits that apply to a sample job, and where each comes from.

    Without a principal, the first one of the tenant's file is taken.
    """
    directory = _directory(config_dir)
    found = directory.tenant(tenant)
    if found is None:
        raise typer.BadParameter(f"no tenant {tenant}")
    if algorithm not in ALGORITHMS:
        raise typer.BadParameter(f"no algorithm {algorithm}")
    duration = None if media_seconds is None else round(media_seconds * MICROSECONDS)
    cost = directory.prices.cost(algorithm, model, duration)
    caller = principal or _first_principal(found)
    demand = Demand(tenant, caller, algorithm, cost)
    applying = [_effect(limit, demand) for limit in found.limits if limit.covers(demand)]
    if output == "json":
        _print_json(
            tenant=tenant,
            principal=caller,
            algorithm=algorithm,
            cost_micros=cost,
            currency=directory.prices.currency,
            limits=applying,
        )
        return
    typer.echo(f"{caller} submits {algorithm}{_priced(directory.prices, cost)}")
    head = ("limit", "what", "value", "this job takes", "counted for", "enforced", "from")
    _print_table(head, [[str(cell) for cell in _effect_row(each)] for each in applying])


@app.command()
def top(
    *,
    config_dir: ConfigDir,
    limit: Annotated[int, typer.Option(min=1, help="The most rows.")] = 20,
    output: Output = "table",
) -> None:
    """Show all tenants by use: the counts that are nearest to their limits first.

    Rates are not among them: they fill up again by themselves.
    """
    directory = _directory(config_dir)
    now = time.time_ns() // 1000
    limits = {
        (name, each.id, each.window(now).key): each
        for name in directory
        if (tenant := directory.tenant(name))
        for each in counted(tenant.limits)
    }
    with ledger() as db:
        rows = audit.used(db, (period for _, _, period in limits))
    used = [_use(row, found) for row in rows if (found := limits.get(_limit_key(row)))]
    used.sort(key=lambda use: (-use["share"], use["tenant"], use["limit_id"]))
    if output == "json":
        _print_json(limits=used[:limit])
        return
    head = ("tenant", "limit", "what", "counted for", "used", "of", "%")
    _print_table(head, [_use_row(use) for use in used[:limit]])


def reconcile(
    bill: Annotated[
        Path, typer.Argument(help="CSV with job_id, algorithm and amount.", exists=True)
    ],
    *,
    since: Annotated[
        datetime | None, typer.Option(help="Jobs from this UTC time on. Default: all.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="Jobs before this UTC time. Default: all.")
    ] = None,
    output: Output = "table",
) -> None:
    """Hold the ledger against a provider's bill; list what either side lacks, exit code 1 if any.

    Jobs that were purged are not in the ledger any more: keep jobs longer than bills take.
    """
    try:
        with bill.open(encoding="utf-8-sig", newline="") as lines:
            billed = reconciliation.read_bill(lines)
    except (OSError, UnicodeError, reconciliation.BillError) as error:
        typer.echo(f"{bill.name}: {error}", err=True)
        raise typer.Exit(UNUSABLE) from None
    with ledger() as db:
        taken = audit.taken(db, _moment(since, 0), _moment(until, 2**62))
        findings = reconciliation.reconcile(billed, taken, audit.unknown(db))
    if output == "json":
        _print_json(agree=findings.agree, **asdict(findings))
    else:
        _print_findings(findings)
    if not findings.agree:
        raise typer.Exit(DIFFERENT)


def _print_findings(found: reconciliation.Findings) -> None:
    rows = [
        ["not in the ledger", each.job_id, each.algorithm, each.amount, ""]
        for each in found.only_billed
    ]
    rows += [
        ["not on the bill", each.upstream_job_id, each.algorithm, "", each.cost]
        for each in found.only_in_ledger
    ]
    rows += [
        [
            "another algorithm",
            each.billed.job_id,
            f"{each.billed.algorithm}, ledger: {each.taken.algorithm}",
            each.billed.amount,
            each.taken.cost,
        ]
        for each in found.other_algorithm
    ]
    rows += [
        [
            "another amount",
            each.billed.job_id,
            each.taken.algorithm,
            each.billed.amount,
            each.taken.cost,
        ]
        for each in found.other_amount
    ]
    if rows:
        head = ("what", "upstream job", "algorithm", "billed (micro)", "ledger (micro)")
        _print_table(head, [[str(cell) for cell in row] for row in rows])
    typer.echo(f"{found.matched} jobs on both sides, {len(rows)} differences")
    if found.unknown:
        typer.echo(f"{len(found.unknown)} jobs of which nobody knows may be among those billed:")
        for job in found.unknown:
            typer.echo(f"  {job.name} ({job.algorithm})")


def _directory(folder: Path) -> Directory:
    try:
        return load(folder).directory
    except ConfigurationError as error:
        for fault in error.faults:
            typer.echo(fault, err=True)
        raise typer.Exit(UNUSABLE) from None


def _first_principal(tenant: Tenant) -> str:
    subjects = [subject for subject in tenant.roles if subject.startswith("principal/")]
    subjects += [key.principal.name for key in tenant.credentials.keys]
    return subjects[0].partition("/")[2] if subjects else ""


def _effect(limit: Limit, demand: Demand) -> dict[str, Any]:
    is_rate = isinstance(limit, RateLimit)
    return {
        "limit_id": limit.id,
        "metric": limit.metric,
        "value": limit.burst if isinstance(limit, RateLimit) else limit.max,
        "per_second": limit.per_second if isinstance(limit, RateLimit) else None,
        "takes": 1 if is_rate else _amount(limit, demand),
        "dimensions": dict(dimensions_of(limit.bucket(demand))),
        "enforced": not limit.shadow,
        "source": limit.source,
    }


def _amount(limit: Limit, demand: Demand) -> int:
    return demand.cost if isinstance(limit, BudgetLimit) else 1


def _effect_row(effect: dict[str, Any]) -> Sequence[object]:
    rate = effect["per_second"]
    value = effect["value"] if rate is None else f"{rate:g}/s, burst {effect['value']}"
    return (
        effect["limit_id"],
        effect["metric"],
        value,
        effect["takes"],
        _named(effect["dimensions"].items()),
        "yes" if effect["enforced"] else "on trial",
        effect["source"],
    )


def _limit_key(row: Any) -> tuple[str, str, str]:
    return row["tenant"], row["limit_id"], row["period"]


def _use(row: Any, limit: Any) -> dict[str, Any]:
    return {
        "tenant": row["tenant"],
        "limit_id": limit.id,
        "metric": limit.metric,
        "dimensions": dict(dimensions_of(row["bucket"])),
        "used": row["used"],
        "value": limit.max,
        "share": round(row["used"] / max(1, limit.max), 4),
        "shadow": limit.shadow,
    }


def _use_row(use: dict[str, Any]) -> list[str]:
    what = f"{use['metric']}, on trial" if use["shadow"] else use["metric"]
    named = _named(use["dimensions"].items())
    share = f"{100 * use['share']:.0f}"
    return [use["tenant"], use["limit_id"], what, named, str(use["used"]), str(use["value"]), share]


def _where(found: audit.Count | audit.Misplaced) -> tuple[str, str, str, str]:
    return found.tenant, found.limit_id, _named(dimensions_of(found.bucket)), found.period


def _named(dimensions: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in dimensions)


def _priced(prices: PriceList, cost: int) -> str:
    return f", {cost / MICROSECONDS:.6f} {prices.currency}" if prices.currency else ""


def _moment(moment: datetime | None, default: int) -> int:
    if moment is None:
        return default
    return round(moment.replace(tzinfo=UTC).timestamp() * MICROSECONDS)


def _print_json(**content: Any) -> None:
    typer.echo(json.dumps(content, ensure_ascii=False))


def _print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(*head, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*row)
    # Not cut to a terminal that there may not be.
    Console(soft_wrap=True, highlight=False, markup=False).print(table)
