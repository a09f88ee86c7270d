"""Builds the commands that take a job: one subcommand an algorithm, and --file for a written one.

Decides how a command's own options and the flags of the contract come together. Knows no algorithm
by name and nothing of what the command does with the job.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import typer
from google.protobuf.descriptor import FieldDescriptor

from ims_gateway_client.cli.contract import ALGORITHMS
from ims_gateway_client.cli.flags import Flag, algorithm_flags, job_flags
from ims_gateway_client.cli.job_files import read_job
from imsgateway.v1.job_pb2 import Job

Command = Callable[..., None]

EPILOG: Final = "For the global options, such as --target and --output json: imsctl --help"

_FILE: Final = inspect.Parameter(
    "file",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        str | None,
        typer.Option(metavar="PATH", help="the job as YAML or JSON; - for standard input"),
    ],
)


def add_job_command(app: typer.Typer, command: Command) -> None:
    """Add a command whose function takes the context, the job, and options of its own."""
    group = typer.Typer(help=command.__doc__, epilog=EPILOG)
    group.callback(invoke_without_command=True)(_from_file(command))
    for algorithm in ALGORITHMS:
        name = algorithm.name.replace("_", "-")
        flags = algorithm_flags(algorithm)
        takes = ", ".join(dict.fromkeys(flag.path[1].name for flag in flags))
        group.command(name, help=command.__doc__, short_help=takes, epilog=EPILOG)(
            _from_flags(command, algorithm, flags)
        )
    app.add_typer(group, name=command.__name__)


def _from_flags(command: Command, algorithm: FieldDescriptor, flags: Sequence[Flag]) -> Command:
    panels = {f"Flags of {algorithm.name}": flags, "Flags of every job": job_flags()}
    parameters = {
        _parameter(flag, panel): flag for panel, of_panel in panels.items() for flag in of_panel
    }

    def run(ctx: typer.Context, **given: Any) -> None:
        job = Job()
        getattr(job, algorithm.name).SetInParent()
        for parameter, flag in parameters.items():
            texts = given.pop(parameter.name)
            if texts is not None:
                _set(flag, job, [texts] if isinstance(texts, str) else texts)
        command(ctx, job, **given)

    return _with_signature(run, command, *parameters)


def _from_file(command: Command) -> Command:
    def run(ctx: typer.Context, file: str | None, **given: Any) -> None:
        if ctx.invoked_subcommand:
            if file or any(given.values()):
                raise typer.BadParameter(f"put the options after {ctx.invoked_subcommand}")
            return
        if file is None:
            raise typer.BadParameter("name an algorithm, or give --file; --help lists them")
        command(ctx, read_job(file), **given)

    return _with_signature(run, command, _FILE)


def _with_signature(run: Command, command: Command, *more: inspect.Parameter) -> Command:
    """Give a function the context and options of a command, and more, for Typer to read."""
    own = [
        parameter
        for name, parameter in inspect.signature(command).parameters.items()
        if name != "job"
    ]
    signature = inspect.Signature([*own, *more])
    run.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it, typing has no name for it
    run.__annotations__ = {
        name: parameter.annotation for name, parameter in signature.parameters.items()
    }
    return run


def _parameter(flag: Flag, panel: str) -> inspect.Parameter:
    kind = list[str] if flag.field.is_repeated else str
    option = typer.Option(
        *flag.spellings, metavar=flag.metavar, help=flag.help, rich_help_panel=panel
    )
    return inspect.Parameter(
        flag.name.replace("-", "_"),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _set(flag: Flag, job: Job, texts: Sequence[str]) -> None:
    try:
        flag.set(job, texts)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"--{flag.name}") from None
