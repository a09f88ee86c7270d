"""imsctl as a whole: its commands and its global options.

Decides where options may stand. Global ones are found anywhere on the line, for people append
`--output json` to what they have typed; `--output` with any other value is an algorithm's own.
"""

from collections.abc import Sequence
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from ims_gateway_client.channel import DEFAULT_TARGET
from ims_gateway_client.cli import commands
from ims_gateway_client.cli.console import console
from ims_gateway_client.cli.job_commands import EPILOG, add_job_command
from ims_gateway_client.cli.session import API_KEY_VARIABLE, Session
from ims_gateway_client.cli.tables import exit_table


class Form(StrEnum):
    """In which form imsctl answers."""

    TABLE = "table"
    JSON = "json"


_WITH_VALUE: Final = (
    "--target",
    "--api-key-file",
    "--ca-file",
    "--certificate-file",
    "--key-file",
    "--timeout",
)
_OUTPUT: Final = ("--output", "-o")


def hoist(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with the global options in front; what follows `--` stays behind it."""
    front: list[str] = []
    rest: list[str] = []
    index = 0
    while index < len(arguments) and arguments[index] != "--":
        size = _size_of_global(arguments[index : index + 2])
        (front if size else rest).extend(arguments[index : index + max(size, 1)])
        index += max(size, 1)
    return [*front, *rest, *arguments[index:]]


def _size_of_global(ahead: Sequence[str]) -> int:
    """Return of how many arguments the global option at the front consists, 0 if it is none."""
    name, equals, attached = ahead[0].partition("=")
    value = attached if equals else ahead[-1]
    if name == "--insecure":
        return 1
    if name in _WITH_VALUE or (name in _OUTPUT and value in tuple(Form)):
        return 1 if equals else len(ahead)
    return 0


class Imsctl(TyperGroup):
    """The root command, whose options may stand anywhere and whose help has the exit codes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line."""
        return super().parse_args(ctx, hoist(args))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        super().format_help(ctx, formatter)
        console().print(exit_table())


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if wanted:
        typer.echo(metadata.version("ims-gateway-client"))
        raise typer.Exit


def configure(
    ctx: typer.Context,
    *,
    target: Annotated[
        str, typer.Option(metavar="HOST:PORT", envvar="IMSCTL_TARGET", help="the gateway")
    ] = DEFAULT_TARGET,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            exists=True,
            dir_okay=False,
            envvar="IMSCTL_API_KEY_FILE",
            help="holds the API key or token, read again for every call; default: the key in "
            f"{API_KEY_VARIABLE}",
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            exists=True,
            dir_okay=False,
            help="authorities to trust, as PEM; implies TLS",
        ),
    ] = None,
    certificate_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", exists=True, dir_okay=False, help="your own certificate, for mTLS"
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="PATH", exists=True, dir_okay=False, help="the certificate's key"),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="plain text; the default on this machine, TLS elsewhere"),
    ] = False,
    output: Annotated[
        Form, typer.Option("--output", "-o", help="for people or for programs")
    ] = Form.TABLE,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.001, help="for one call with its retries")
    ] = 30.0,
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="show the version and exit"
        ),
    ] = False,
) -> None:
    """Submit media jobs to IMS Gateway and follow them.

    Global options may stand anywhere on the line.
    """
    if insecure and ca_file:
        raise typer.BadParameter("--insecure and --ca-file exclude each other")
    if (certificate_file is None) != (key_file is None):
        raise typer.BadParameter("--certificate-file and --key-file go together")
    if insecure and certificate_file:
        raise typer.BadParameter("--insecure and --certificate-file exclude each other")
    ctx.obj = Session(
        target=target,
        api_key_file=api_key_file,
        ca_file=ca_file,
        certificate_file=certificate_file,
        key_file=key_file,
        insecure=insecure,
        timeout_seconds=timeout,
        as_json=output is Form.JSON,
    )


def build() -> typer.Typer:
    """Return imsctl."""
    app = typer.Typer(
        name="imsctl",
        cls=Imsctl,
        add_completion=False,
        no_args_is_help=True,
        # A traceback with locals would show the credential.
        pretty_exceptions_enable=False,
    )
    app.callback()(configure)
    add_job_command(app, commands.submit)
    app.command("list", epilog=EPILOG)(commands.list_jobs)
    for command in (
        commands.get,
        commands.watch,
        commands.cancel,
        commands.trace,
        commands.quota,
        commands.whoami,
        commands.algorithms,
    ):
        app.command(epilog=EPILOG)(command)
    add_job_command(app, commands.explain)
    return app


app = build()
