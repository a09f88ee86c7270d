"""The commands of imsgw. They parse flags and print; what they run is elsewhere."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from pydantic import ValidationError

from ims_gateway.cli.decisions import app as decisions
from ims_gateway.cli.doctor import doctor
from ims_gateway.cli.jobs import app as jobs
from ims_gateway.cli.keys import app as keys
from ims_gateway.cli.policy import app as policy
from ims_gateway.cli.quota import app as quota
from ims_gateway.cli.quota import reconcile
from ims_gateway.cli.tenants import app as tenants
from ims_gateway.cli.tenants import reload
from ims_gateway.settings import FileSettings, LedgerSettings, Settings, environment
from ims_gateway.tenancy.loading import Beginning
from ims_gateway.tenancy.reading import ConfigurationError

app = typer.Typer(
    name="imsgw",
    help="Operates IMS Gateway.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(keys, name="keys")
app.add_typer(jobs, name="jobs")
app.add_typer(policy, name="policy")
app.add_typer(quota, name="quota")
app.command()(reconcile)
app.add_typer(tenants, name="tenants")
app.add_typer(decisions, name="decisions")
app.command()(reload)
app.command()(doctor)

db = typer.Typer(help="The ledger's database.", no_args_is_help=True)
app.add_typer(db, name="db")

# Of sysexits.h.
UNAVAILABLE = 69
UNUSABLE = 78

AnySettings = TypeVar("AnySettings", bound=LedgerSettings)


def _settings(kind: type[AnySettings], more: Callable[[], Iterable[object]] = list) -> AnySettings:
    """Return the process's settings, or end it with every fault of them, and with `more`."""
    try:
        return kind()
    except ValidationError as error:
        _refuse([*_faults(error), *more()])


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        name = "_".join(["IMSGW", *(str(part) for part in fault["loc"])]).upper()
        yield f"{name}: {fault['msg']}"


def _refuse(faults: Iterable[object]) -> NoReturn:
    """End the process with what is wrong."""
    for fault in faults:
        typer.echo(fault, err=True)
    raise typer.Exit(UNUSABLE) from None


@contextmanager
def _schema_faults() -> Iterator[None]:
    """End the process with what is wrong with the ledger's database, if that is it."""
    from ims_gateway.jobs.migrate import LedgerUnreachable, UnknownRevision  # noqa: PLC0415

    try:
        yield
    except UnknownRevision as error:
        typer.echo(error, err=True)
        raise typer.Exit(UNUSABLE) from None
    except LedgerUnreachable as error:
        typer.echo(f"the ledger cannot be reached or written: {error}", err=True)
        raise typer.Exit(UNAVAILABLE) from None


@app.command()
def serve() -> None:
    """Serve gRPC until SIGTERM. Settings come from variables that begin with IMSGW_.

    A second SIGTERM does not wait for calls in flight; what is paid for is settled all the same.
    """
    settings = _settings(Settings, _faults_of_files)
    # Importing the rest takes a second, in which very many tenants are read already.
    beginning = Beginning(settings.config_dir)
    from ims_gateway.cli.serve import serve as run  # noqa: PLC0415 - others start without
    from ims_gateway.ports import PortTaken  # noqa: PLC0415
    from ims_gateway.starting import faults_of  # noqa: PLC0415

    try:
        with _schema_faults():
            code = asyncio.run(run(settings, environment(), beginning))
    except ConfigurationError as error:
        _refuse(dict.fromkeys([*error.faults, *faults_of(settings, environment())]))
    except PortTaken as taken:
        typer.echo(taken, err=True)
        raise typer.Exit(UNAVAILABLE) from None
    raise typer.Exit(code)


def _faults_of_files() -> Iterable[object]:
    from ims_gateway.starting import faults_of  # noqa: PLC0415 - others start without

    return faults_of(FileSettings(), environment())


@app.command()
def health() -> None:
    """Exit with 0 if the gateway takes calls, asked on IMSGW_ADMIN_LISTEN or IMSGW_LISTEN."""
    from ims_gateway.cli.health import ask  # noqa: PLC0415 - others start without grpc

    ask(_settings(Settings))


@app.command()
def emulator(
    *,
    access_key: Annotated[
        list[str],
        typer.Option(help="Accepted keys, as ID:SECRET. Not for secrets that matter."),
    ],
    http_port: Annotated[int, typer.Option(help="Port for HTTP and the control endpoint.")] = 8089,
    https_port: Annotated[int | None, typer.Option(help="Port for HTTPS.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    region: Annotated[str, typer.Option(help="Region that is stood in for.")] = "cn-shanghai",
    job_seconds: Annotated[float, typer.Option(help="How long a job runs, in seconds.")] = 2.0,
) -> None:
    """Stand in for Intelligent Media Services: for development and tests."""
    from ims_gateway.emulator import command  # noqa: PLC0415 - needed by no other command
    from ims_gateway.emulator.server import Emulator  # noqa: PLC0415
    from ims_gateway.emulator.settings import AccessKey, EmulatorSettings  # noqa: PLC0415

    def ready(running: Emulator) -> None:
        endpoints = {"http": running.http_endpoint}
        if https_port is not None:
            endpoints |= {"https": running.https_endpoint, "ca_file": str(running.ca_file)}
        typer.echo(json.dumps(endpoints))

    pairs = [pair.partition(":") for pair in access_key]
    settings = EmulatorSettings(
        access_keys={key_id: AccessKey(secret) for key_id, _, secret in pairs},
        region=region,
        job_seconds=job_seconds,
        host=host,
        http_port=http_port,
        https_port=https_port,
    )
    asyncio.run(command.run(settings, ready=ready))


@app.command()
def sandbox(
    folder: Annotated[Path, typer.Option(help="Where its files go.")] = Path("build/sandbox"),
) -> None:
    """Run a gateway and an emulator together, for a first look. Keys and data are throw-away."""
    from ims_gateway.sandbox.run import stay_up  # noqa: PLC0415 - needed by no other command

    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(stay_up(folder))


@app.command()
def demo(
    cases: Annotated[Path, typer.Option(help="Folder of golden cases, one folder an algorithm.")],
) -> None:
    """Run one job of each algorithm, and each kind of refusal, against an emulator."""
    from ims_gateway.sandbox.demo import run  # noqa: PLC0415 - needed by no other command

    sys.exit(0 if asyncio.run(run(cases)) else 1)


@db.command("upgrade")
def upgrade_ledger(
    output: Annotated[str, typer.Option(help="table or json.")] = "table",
) -> None:
    """Bring the ledger's schema to this version. Every start of a gateway does the same.

    Needs IMSGW_DATABASE_URL and no other setting. May run as often, and as many at once, as you
    like.
    """
    from ims_gateway.jobs.migrate import upgrade  # noqa: PLC0415 - others need no ledger

    settings = _settings(LedgerSettings)
    with _schema_faults():
        done = upgrade(settings.database_url.get_secret_value())
    if output == "json":
        typer.echo(json.dumps({"before": done.before, "after": done.after}))
    elif done.before == done.after:
        typer.echo(f"the ledger's schema is {done.after}: nothing to do")
    else:
        typer.echo(f"the ledger's schema was {done.before} and is {done.after}")
