"""What each command of imsctl does.

Decides what is printed where: results to standard output, the way there to standard error.
"""

from collections import deque
from contextlib import closing
from itertools import islice
from typing import Annotated

import typer
from google.protobuf.message import Message
from rich.table import Table

from ims_gateway_client.cli import bars, exits, permissions, tables, traces
from ims_gateway_client.cli.console import console, print_document, print_line
from ims_gateway_client.cli.exits import ExitCode
from ims_gateway_client.cli.following import follow, leaving_to_itself
from ims_gateway_client.cli.session import Session
from ims_gateway_client.client import Client
from ims_gateway_client.watching import is_settled
from imsgateway.v1.job_pb2 import Job
from imsgateway.v1.job_service_pb2 import SubmitJobResponse

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="tenants/TENANT/jobs/ID, or the ID of your tenant's")
]
Parent = Annotated[str, typer.Option(metavar="TENANT", help="default: your own")]

_NARROW_COLUMNS = 100


def submit(
    ctx: typer.Context,
    job: Job,
    *,
    request_id: Annotated[
        str | None,
        typer.Option(metavar="UUID", help="makes repeating safe; default: a new one"),
    ] = None,
    parent: Parent = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only check: policy, quota and the upstream call")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="follow the job to its end")] = False,
) -> None:
    """Submit a job, described by flags or by a file."""
    session: Session = ctx.obj
    with session.connect() as client:
        if dry_run:
            reply = client.validate(job, request_id=request_id, parent=_tenant(parent))
            _show_check(session, reply)
            raise typer.Exit(_of_check(reply))
        job = client.submit(job, request_id=request_id, parent=_tenant(parent))
        if wait:
            job = _wait(session, client, job.name)
    _show_job(session, job)
    raise typer.Exit(exits.of_job(job))


def explain(ctx: typer.Context, job: Job, parent: Parent = "") -> None:
    """Ask whether a job would be allowed, for each object, and by which rule."""
    session: Session = ctx.obj
    with session.connect() as client:
        decision = client.explain(job, parent=_tenant(parent))
    if session.as_json:
        print_document(decision)
    else:
        console().print(tables.decision_table(decision))
    raise typer.Exit(ExitCode.OK if decision.allowed else ExitCode.DENIED)


def get(
    ctx: typer.Context,
    name: Name,
    *,
    download_urls: Annotated[
        bool, typer.Option("--download-urls", help="with addresses to download its files from")
    ] = False,
) -> None:
    """Show a job."""
    session: Session = ctx.obj
    with session.connect() as client:
        job = client.get(_full_name(client, name), include_download_urls=download_urls)
    _show_job(session, job)


def list_jobs(
    ctx: typer.Context,
    *,
    parent: Parent = "",
    limit: Annotated[int, typer.Option(min=0, help="the most jobs to show; 0 for all")] = 50,
) -> None:
    """List jobs, newest first."""
    session: Session = ctx.obj
    with session.connect() as client:
        found = islice(client.list(_tenant(parent), page_size=min(limit, 1000)), limit or None)
        if session.as_json:
            deque(map(print_line, found), maxlen=0)
        else:
            out = console()
            out.print(tables.list_table(found, narrow=out.width < _NARROW_COLUMNS))


def watch(ctx: typer.Context, name: Name) -> None:
    """Follow a job to its end."""
    session: Session = ctx.obj
    job = Job()
    with session.connect() as client, leaving_to_itself(name):
        states = client.watch(_full_name(client, name))
        out = console()
        with closing(states if session.as_json else follow(states, out)) as shown:
            for job in shown:
                if session.as_json:
                    print_line(job)
    if out.is_terminal and not session.as_json:
        _show_job(session, job)
    raise typer.Exit(exits.of_job(job))


def cancel(ctx: typer.Context, name: Name) -> None:
    """Ask for a job's cancellation."""
    session: Session = ctx.obj
    with session.connect() as client:
        job = client.cancel(_full_name(client, name))
    _show_job(session, job)


def trace(ctx: typer.Context, name: Name) -> None:
    """Show what happened to a job, step by step, and how long each step took."""
    session: Session = ctx.obj
    with session.connect() as client:
        found = client.trace(_full_name(client, name))
    if session.as_json:
        print_document(found)
    else:
        out = console()
        out.print(traces.trace_tree(found, narrow=out.width < _NARROW_COLUMNS))


def whoami(ctx: typer.Context) -> None:
    """Show who the gateway takes you for."""
    session: Session = ctx.obj
    with session.connect() as client:
        caller = client.who_am_i()
    if session.as_json:
        print_document(caller)
    else:
        console().print(tables.caller_table(caller))


def quota(
    ctx: typer.Context,
    *,
    parent: Parent = "",
    history: Annotated[
        bool, typer.Option("--history", help="what was used day by day, instead of the limits")
    ] = False,
    days: Annotated[int, typer.Option(min=1, max=100, help="how many days, with --history")] = 31,
) -> None:
    """Show your tenant's limits and what is used of them, as bars."""
    session: Session = ctx.obj
    with session.connect() as client:
        if history:
            past = client.usage_history(parent=_tenant(parent), days=days)
            _show_usage(session, past, bars.history_table(past))
        else:
            now = client.usage(parent=_tenant(parent))
            _show_usage(session, now, bars.usage_table(now))


def algorithms(ctx: typer.Context, parent: Parent = "") -> None:
    """Show which algorithms you may use, and the rules and prices that apply."""
    session: Session = ctx.obj
    with session.connect() as client:
        found = client.list_algorithms(parent=_tenant(parent))
    if session.as_json:
        print_document(found)
    else:
        out = console()
        out.print(permissions.algorithm_table(found), "")
        out.print(permissions.rule_table(found))


def _wait(session: Session, client: Client, name: str) -> Job:
    states = client.watch(name)
    out = console(stderr=True)
    shown = states if session.as_json else follow(states, out)
    with leaving_to_itself(name), closing(shown):
        return next(filter(is_settled, shown))


def _show_job(session: Session, job: Job) -> None:
    if session.as_json:
        print_document(job)
    else:
        console().print(tables.job_table(job))


def _show_usage(session: Session, reply: Message, table: Table) -> None:
    if session.as_json:
        print_document(reply)
    else:
        console().print(table)


def _show_check(session: Session, reply: SubmitJobResponse) -> None:
    if session.as_json:
        print_document(reply)
        return
    out = console()
    out.print(tables.decision_table(reply.decision), "")
    out.print(tables.quota_table(reply.quota), "")
    out.print(tables.upstream_table(reply.upstream_request))


def _of_check(reply: SubmitJobResponse) -> ExitCode:
    if not reply.decision.allowed:
        return ExitCode.DENIED
    return ExitCode.OK if reply.quota.admitted else ExitCode.LIMIT


def _tenant(parent: str) -> str:
    return f"tenants/{parent}" if parent and "/" not in parent else parent


def _full_name(client: Client, name: str) -> str:
    return name if "/" in name else f"{client.who_am_i().tenant}/jobs/{name}"
