"""Shows a job's way to its end as it happens.

Decides between a live display, on a terminal, and one line a change of state, anywhere else.
"""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from ims_gateway_client import jobs
from ims_gateway_client.cli.console import console, plain
from ims_gateway_client.cli.tables import state_text, time_text
from imsgateway.v1.job_pb2 import Job

_INTERRUPTED = 130  # as every shell reports an end by Ctrl-C


@contextmanager
def leaving_to_itself(name: str) -> Iterator[None]:
    """Make Ctrl-C end imsctl with a word about the job, which goes on."""
    try:
        yield
    except KeyboardInterrupt:
        console(stderr=True).print(f"the job goes on; to follow it: imsctl watch {plain(name)}")
        raise typer.Exit(_INTERRUPTED) from None


def follow(states: Generator[Job, None, None], out: Console) -> Generator[Job, None, None]:
    """Show each state and pass it on."""
    with _display(out) as display, closing(states):
        waiting = display.add_task("", state="")
        for job in states:
            display.update(waiting, state=jobs.state_name(job))
            out.print(_line(job))
            yield job


def _display(out: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        console=out,
        transient=True,
        disable=not out.is_terminal,
    )


def _line(job: Job) -> Text:
    line = Text.assemble(time_text(job.update_time), "  ", state_text(job), "  ", plain(job.name))
    if job.HasField("failure"):
        line.append(plain(f"  {job.failure.code}: {job.failure.message}"))
    return line
