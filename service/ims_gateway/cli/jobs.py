"""imsgw jobs: what an operator does about a job.

Jobs are found in the ledger's database, and changed only through the gateway's gRPC.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

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
    from imsgateway.v1.job_pb2 import Job

app = typer.Typer(help="Jobs of all tenants.", no_args_is_help=True)


@app.callback()
def jobs() -> None:
    """Jobs of all tenants."""


@app.command()
def unknown(output: Output = Form.TABLE) -> None:
    """List the jobs of which nobody knows whether the service took them, oldest first.

    Reads the ledger that IMSGW_DATABASE_URL names. `imsgw jobs resolve` settles one.
    """
    from ims_gateway.cli.ledgers import ledger  # noqa: PLC0415 - see above
    from ims_gateway.jobs import audit  # noqa: PLC0415

    with ledger() as db:
        jobs = audit.unknown(db)
    found = [(job.name, job.algorithm, _second(job.create_time), job.cost) for job in jobs]
    if output is Form.JSON:
        names = ("name", "algorithm", "create_time", "cost_micros")
        typer.echo(json.dumps({"jobs": [dict(zip(names, row, strict=True)) for row in found]}))
        return
    for name, algorithm, created, cost in found:
        typer.echo(f"{created}  {name}  {algorithm}  {cost / 1e6:.2f}")
    typer.echo(f"{len(found)} jobs in SUBMIT_UNKNOWN")


def _second(microseconds: int) -> str:
    return f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"


@app.command(
    epilog="Exit codes: 0 resolved · 2 wrong flags · 3 malformed name or id · 4 key not accepted · "
    "5 not an operator · 7 no such job · 8 no answer, safe to repeat · 10 refused, nothing changed"
)
def resolve(
    *,
    name: Annotated[str, typer.Argument(help="tenants/TENANT/jobs/ID, in SUBMIT_UNKNOWN.")],
    upstream_id: Annotated[
        str | None,
        typer.Option(help="The service took the job and calls it this. It is verified."),
    ] = None,
    never_created: Annotated[
        bool, typer.Option("--never-created", help="The service never took the job.")
    ] = False,
    target: Target = LOCAL,
    api_key_file: ApiKeyFile = None,
    ca_file: CaFile = None,
    insecure: Insecure = False,
    timeout: Timeout = 30.0,
    output: Output = Form.TABLE,
) -> None:
    """Settle a job of which nobody knows whether the service took it."""
    from imsgateway.v1.admin_service_pb2 import ResolveJobRequest  # noqa: PLC0415 - see above

    if (upstream_id is not None) == never_created:
        raise typer.BadParameter("give either --upstream-id or --never-created")
    resolution: dict[str, Any] = (
        {"never_created": {}} if never_created else {"upstream_job_id": upstream_id}
    )
    desk = Desk(target, api_key_file, ca_file, insecure, timeout, output)
    request = ResolveJobRequest(name=name, **resolution)
    job: Job = desk.ask("ResolveJob", request).job
    if desk.as_json:
        print_json(job)
    else:
        _show(job)


def _show(job: Job) -> None:
    from ims_gateway_client.jobs import state_name  # noqa: PLC0415 - see above

    if job.upstream_job_id:
        typer.echo(f"{job.name} is {state_name(job)}: followed as upstream job", nl=False)
        typer.echo(f" {job.upstream_job_id}, its quota is spent")
    else:
        typer.echo(f"{job.name} is {state_name(job)}: never created, its quota is returned")
