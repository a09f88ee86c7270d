"""imsgw tenants and imsgw reload: what a gateway has taken of its configuration files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
    from imsgateway.v1.admin_service_pb2 import ListTenantsResponse, ReloadResponse

# imsctl's code for what has failed although the call was answered.
FAULTS_LEFT = 1

app = typer.Typer(help="Tenants in force.", no_args_is_help=True)


@app.callback()
def tenants() -> None:
    """Tenants in force."""


@app.command("list")
def list_tenants(
    *,
    page_size: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    page_token: Annotated[str, typer.Option(help="Of the page before.")] = "",
    target: Target = LOCAL,
    api_key_file: ApiKeyFile = None,
    ca_file: CaFile = None,
    insecure: Insecure = False,
    timeout: Timeout = 30.0,
    output: Output = Form.TABLE,
) -> None:
    """List the tenants by name, each with the version of its file that is in force."""
    from imsgateway.v1.admin_service_pb2 import ListTenantsRequest  # noqa: PLC0415 - see above

    desk = Desk(target, api_key_file, ca_file, insecure, timeout, output)
    request = ListTenantsRequest(page_size=page_size, page_token=page_token)
    page: ListTenantsResponse = desk.ask("ListTenants", request)
    if desk.as_json:
        print_json(page)
        return
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415

    from ims_gateway_client.cli.console import console  # noqa: PLC0415

    table = Table("tenant", "version", "account", "file")
    for tenant in page.tenants:
        wrong = "\n".join(_spelled(fault) for fault in tenant.faults)
        cells = (tenant.name, tenant.version, tenant.account, wrong or "in force")
        table.add_row(*(Text(cell) for cell in cells))
    console().print(table)
    if page.next_page_token:
        typer.echo(f"more with --page-token {page.next_page_token}")


def reload(
    *,
    target: Target = LOCAL,
    api_key_file: ApiKeyFile = None,
    ca_file: CaFile = None,
    insecure: Insecure = False,
    timeout: Timeout = 30.0,
    output: Output = Form.TABLE,
) -> None:
    """Have one gateway take the configuration files that have changed.

    Every gateway does so by itself, within a second. Here is said what is wrong with a file. Exit
    code 1: there are files that were not taken.
    """
    from imsgateway.v1.admin_service_pb2 import ReloadRequest  # noqa: PLC0415 - see above

    desk = Desk(target, api_key_file, ca_file, insecure, timeout, output)
    answer: ReloadResponse = desk.ask("Reload", ReloadRequest())
    if desk.as_json:
        print_json(answer)
    else:
        for fault in answer.faults:
            typer.echo(f"not taken: {_spelled(fault)}")
        typer.echo(f"{answer.tenants} tenants in force")
    if answer.faults:
        raise typer.Exit(FAULTS_LEFT)


def _spelled(fault: ReloadResponse.Fault) -> str:
    line = f":{fault.line}" if fault.line else ""
    return f"{fault.file}{line}: {fault.message}"
