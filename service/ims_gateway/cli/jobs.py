"""imsgw jobs: what an operator does about a job, through the gateway's gRPC.

Decides the flags, the words, and the exit codes, which are those of imsctl. The operator's key
comes from a file or the environment, never from the command line, where `ps` would show it.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ims_gateway.settings import environment

if TYPE_CHECKING:  # imported where they are needed: other commands start without grpc
    from ims_gateway_client import Client, GatewayError
    from imsgateway.v1.admin_service_pb2 import ResolveJobRequest
    from imsgateway.v1.job_pb2 import Job

KEY_VARIABLE: Final = "IMSGW_OPERATOR_KEY"

app = typer.Typer(help="Jobs of all tenants.", no_args_is_help=True)


class Form(StrEnum):
    """In which form a result is printed."""

    TABLE = "table"
    JSON = "json"


@app.callback()
def jobs() -> None:
    """Jobs of all tenants."""


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
    target: Annotated[
        str, typer.Option(envvar="IMSGW_TARGET", metavar="HOST:PORT", help="The gateway.")
    ] = "127.0.0.1:50051",
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help=f"Holds the operator's API key. Default: the key in {KEY_VARIABLE}.",
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Authorities to trust, as PEM."),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="Plain text; the default on this machine, TLS elsewhere."),
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.001, metavar="SECONDS")] = 30.0,
    output: Annotated[Form, typer.Option(help="For people or for programs.")] = Form.TABLE,
) -> None:
    """Settle a job of which nobody knows whether the service took it."""
    from imsgateway.v1.admin_service_pb2 import ResolveJobRequest  # noqa: PLC0415 - see above

    if (upstream_id is not None) == never_created:
        raise typer.BadParameter("give either --upstream-id or --never-created")
    if insecure and ca_file:
        raise typer.BadParameter("--insecure and --ca-file exclude each other")
    resolution: dict[str, Any] = (
        {"never_created": {}} if never_created else {"upstream_job_id": upstream_id}
    )
    request = ResolveJobRequest(name=name, **resolution)
    client = _client(target, _key(api_key_file), ca_file, insecure=insecure)
    job = _resolved(client, request, target, timeout_seconds=timeout, as_json=output is Form.JSON)
    _show(job, as_json=output is Form.JSON)


def _client(target: str, key: str, ca_file: Path | None, *, insecure: bool) -> Client:
    from ims_gateway_client import Client, TlsOptions  # noqa: PLC0415 - see above

    tls: TlsOptions | bool | None = TlsOptions(ca_file=ca_file) if ca_file else None
    try:
        return Client(target, api_key=key, tls=False if insecure else tls)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None


def _key(file: Path | None) -> str:
    if file is None:
        key = environment().get(KEY_VARIABLE, "").strip()
        missing = f"give the operator's key in {KEY_VARIABLE} or with --api-key-file"
    else:
        try:
            key = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise typer.BadParameter(f"{file}: {type(error).__name__}") from None
        missing = f"{file} holds no key"
    if not key:
        raise typer.BadParameter(missing)
    return key


def _resolved(
    client: Client,
    request: ResolveJobRequest,
    target: str,
    *,
    timeout_seconds: float,
    as_json: bool,
) -> Job:
    import grpc  # noqa: PLC0415 - see above

    from ims_gateway_client.cli import exits  # noqa: PLC0415
    from ims_gateway_client.error_details import error_of  # noqa: PLC0415

    with client:
        try:
            return client.admin.ResolveJob(request, timeout=timeout_seconds).job
        except grpc.RpcError as failed:
            error = error_of(failed, request, target)
            _report(error, as_json=as_json)
            raise typer.Exit(exits.of_error(error)) from None


def _show(job: Job, *, as_json: bool) -> None:
    from google.protobuf import json_format  # noqa: PLC0415 - see above

    from ims_gateway_client.jobs import state_name  # noqa: PLC0415

    if as_json:
        typer.echo(json_format.MessageToJson(job, ensure_ascii=False))
    elif job.upstream_job_id:
        typer.echo(f"{job.name} is {state_name(job)}: followed as upstream job", nl=False)
        typer.echo(f" {job.upstream_job_id}, its quota is spent")
    else:
        typer.echo(f"{job.name} is {state_name(job)}: never created, its quota is returned")


def _report(error: GatewayError, *, as_json: bool) -> None:
    violations = [f"{wrong.field}: {wrong.description}" for wrong in error.violations]
    facts = {
        "code": error.code.name,
        "reason": error.reason,
        "message": error.message,
        "violations": violations,
        "retry_after_seconds": error.retry_after_seconds,
        "decision_id": error.decision_id,
        "metadata": error.metadata,
    }
    if as_json:
        known = {name: fact for name, fact in facts.items() if fact not in ("", [], {}, None)}
        typer.echo(json.dumps({"error": known}, ensure_ascii=False), err=True)
        return
    typer.echo(f"error: {error.message}", err=True)
    for violation in violations:
        typer.echo(f"  {violation}", err=True)
    if error.retry_after_seconds is not None:
        typer.echo(f"try again in {error.retry_after_seconds:.0f} s", err=True)
    typer.echo(f"{error.reason or error.code.name}, decision {error.decision_id or '-'}", err=True)
