"""imsgw decisions: the records of calls, as the ledger keeps the latest of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ims_gateway.cli.form import Form, Output
from ims_gateway.cli.operator import (
    LOCAL,
    ApiKeyFile,
    CaFile,
    Desk,
    Insecure,
    Target,
    Timeout,
    print_json,
)

if TYPE_CHECKING:  # imported where they are needed: other commands start without grpc
    from imsgateway.v1.admin_service_pb2 import ListDecisionsResponse

    Record = ListDecisionsResponse.DecisionRecord

WIDEST: Final = 160

app = typer.Typer(help="Records of calls.", no_args_is_help=True)


@app.callback()
def decisions() -> None:
    """Look at records of calls."""


@app.command("list")
def list_decisions(
    *,
    decision_id: Annotated[
        str, typer.Option("--id", help="The one that a refused caller was given; shown in full.")
    ] = "",
    parent: Annotated[str, typer.Option(metavar="tenants/TENANT", help="Acted for.")] = "",
    principal: Annotated[str, typer.Option(help="Such as principal/render-farm.")] = "",
    code: Annotated[str, typer.Option(help="Such as PERMISSION_DENIED.")] = "",
    reason: Annotated[str, typer.Option(help="Such as POLICY_DENIED.")] = "",
    shadow_differs: Annotated[
        bool, typer.Option("--shadow-differs", help="The shadow policy says otherwise.")
    ] = False,
    page_size: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    page_token: Annotated[str, typer.Option(help="Of the page before.")] = "",
    target: Target = LOCAL,
    api_key_file: ApiKeyFile = None,
    ca_file: CaFile = None,
    insecure: Insecure = False,
    timeout: Timeout = 30.0,
    output: Output = Form.TABLE,
) -> None:
    """List the latest decisions of all gateways, newest first. A record is there after a second."""
    from imsgateway.v1.admin_service_pb2 import ListDecisionsRequest  # noqa: PLC0415 - see above

    desk = Desk(target, api_key_file, ca_file, insecure, timeout, output)
    request = ListDecisionsRequest(
        decision_id=decision_id,
        parent=parent,
        principal=principal,
        code=code,
        reason=reason,
        shadow_differs=shadow_differs,
        page_size=page_size,
        page_token=page_token,
    )
    page: ListDecisionsResponse = desk.ask("ListDecisions", request)
    if desk.as_json:
        print_json(page)
    elif decision_id:
        _show(page)
    else:
        _show_all(page)


def _show_all(page: ListDecisionsResponse) -> None:
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415

    from ims_gateway_client.cli.console import console  # noqa: PLC0415

    table = Table("time", "decision", "tenant", "principal", "method", "result", "calls")
    for record in page.decisions:
        cells = (
            f"{record.time.ToDatetime():%Y-%m-%d %H:%M:%SZ}",
            record.decision_id,
            record.tenant.removeprefix("tenants/"),
            record.principal,
            record.method.rpartition("/")[2],
            record.reason or record.code,
            str(record.count),
        )
        table.add_row(*(Text(cell) for cell in cells))
    # Wider than a screen rather than an id that cannot be copied.
    wide = console()
    wide.width = max(wide.width, WIDEST)
    wide.print(table)
    if page.next_page_token:
        typer.echo(f"more with --page-token {page.next_page_token}")


def _show(page: ListDecisionsResponse) -> None:
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415

    from ims_gateway_client.cli.console import console  # noqa: PLC0415

    if not page.decisions:
        typer.echo("no such decision; it may be too new (a second) or too old")
    for record in page.decisions:
        grid = Table.grid(padding=(0, 2))
        for name, value in _facts(record):
            if value:
                grid.add_row(name, Text(value))
        console().print(grid)


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    from imsgateway.v1.annotations_pb2 import ObjectAccess  # noqa: PLC0415 - see above

    yield "decision", record.decision_id
    yield "time", record.time.ToJsonString()
    if record.count > 1:
        yield "calls", f"{record.count}, the last at {record.last_time.ToJsonString()}"
    yield "method", record.method
    yield "principal", f"{record.principal} of {record.principal_tenant or 'the platform'}"
    for name in ("tenant", "credential", "algorithm", "job", "code", "reason", "rule", "trace_id"):
        yield name.replace("_", " "), getattr(record, name)
    for path in record.violations:
        yield "violation", path or "the message"
    for answer in record.policy.objects:
        access = ObjectAccess.Name(answer.access).removeprefix("OBJECT_ACCESS_").lower()
        yield "object", f"{'allowed' if answer.allowed else 'denied'} {access} {answer.object}"
    yield "policy version", record.policy.policy_version
    outcome = record.QuotaOutcome.Name(record.quota_outcome).removeprefix("QUOTA_OUTCOME_")
    for limit in record.limits:
        left = f"{limit.remaining} of {limit.limit} left"
        yield "quota", f"{outcome.lower()} {limit.limit_id} ({limit.metric}), {left}"
    yield "upstream request", record.upstream_request_id
    if record.HasField("duration"):
        yield "duration", f"{record.duration.ToMicroseconds() / 1000:.1f} ms"
    for sample in record.samples:
        told = [
            sample.trace_id,
            *sample.violations,
            *(each.object for each in sample.policy.objects),
        ]
        yield "sample", " ".join(told)
