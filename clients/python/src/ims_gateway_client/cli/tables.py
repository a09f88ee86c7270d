"""Jobs and decisions as tables for people.

Decides what is shown and in which order, by the descriptors where a job's algorithm matters. Prints
nothing.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table
from rich.text import Text

from ims_gateway_client import jobs
from ims_gateway_client.cli.console import plain
from ims_gateway_client.cli.contract import ALGORITHMS
from ims_gateway_client.cli.exits import MEANINGS
from ims_gateway_client.cli.flags import algorithm_flags, job_flags
from ims_gateway_client.cli.values import render
from imsgateway.v1.access_service_pb2 import WhoAmIResponse
from imsgateway.v1.annotations_pb2 import OBJECT_ACCESS_READ
from imsgateway.v1.decision_pb2 import Decision, QuotaEffect, UpstreamRequest
from imsgateway.v1.job_pb2 import Job
from imsgateway.v1.media_pb2 import OutputFile

_STYLES: Final = {
    Job.STATE_SUCCEEDED: "green",
    Job.STATE_FAILED: "red",
    Job.STATE_REJECTED: "red",
    Job.STATE_SUBMIT_UNKNOWN: "bold yellow",
    Job.STATE_CANCELLED: "yellow",
    Job.STATE_CANCELLING: "yellow",
    Job.STATE_RUNNING: "cyan",
}


def state_text(job: Job) -> Text:
    """Return the job's state in its colour."""
    return Text(jobs.state_name(job), style=_STYLES.get(job.state, ""))


def job_id(job: Job) -> str:
    """Return the last part of the job's name."""
    return job.name.rpartition("/")[2]


def time_text(time: Timestamp) -> str:
    """Return a time in UTC to the second, such as "2026-04-01 09:30:00Z"."""
    return time.ToDatetime().isoformat(sep=" ", timespec="seconds") + "Z"


def job_table(job: Job) -> Table:
    """Return everything that a person wants to know of one job."""
    table = facts_table()
    for name, value in _rows(job):
        table.add_row(name, value)
    return table


def list_table(found: Iterable[Job], *, narrow: bool) -> Table:
    """Return one row a job; a narrow one puts state and algorithm below the id."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    if narrow:
        table.add_column("JOB, STATE, ALGORITHM", overflow="fold")
        for job in found:
            table.add_row(
                Text.assemble(job_id(job), "\n  ", state_text(job), "  ", _algorithm(job))
            )
        return table
    for heading in ("JOB", "STATE", "ALGORITHM", "CREATED", "NAME"):
        # An id is there to be copied, so it stays in one piece.
        table.add_column(heading, overflow="fold", no_wrap=heading in ("JOB", "STATE"))
    for job in found:
        created, name = time_text(job.create_time), plain(job.display_name)
        table.add_row(job_id(job), state_text(job), _algorithm(job), created, name)
    return table


def decision_table(decision: Decision) -> Table:
    """Return the policy's answer, for each object too."""
    table = facts_table()
    table.add_row("policy", _verdict(decision.allowed, decision.failed_dimension))
    for one in decision.objects:
        access = "read" if one.access == OBJECT_ACCESS_READ else "write"
        table.add_row(access, plain(one.object))
        table.add_row("", _verdict(one.allowed, one.failed_dimension))
        if one.rule:
            table.add_row("", f"by rule {plain(one.rule)}")
        for near in one.nearest_grants:
            failed = ", ".join(map(_dimension, near.failed_dimensions))
            table.add_row("", f"nearest {plain(near.rule)}, does not fit: {failed}")
    if decision.decision_id:
        table.add_row("decision", decision.decision_id)
    table.add_row("policy version", decision.policy_version)
    return table


def quota_table(effect: QuotaEffect) -> Table:
    """Return what the limits say, one row a limit."""
    table = facts_table()
    table.add_row(
        "quota", Text("there is room", "green") if effect.admitted else Text("no room", "red")
    )
    for limit in effect.limits:
        left = f"{limit.remaining} of {limit.limit} left"
        until = f", until {time_text(limit.reset_time)}" if limit.HasField("reset_time") else ""
        table.add_row(plain(limit.limit_id), f"{left} ({plain(limit.metric)}{until})")
    return table


def upstream_table(request: UpstreamRequest) -> Table:
    """Return the call that would be made."""
    table = facts_table()
    table.add_row("upstream call", f"{request.action} at {request.endpoint}")
    table.add_row("account", plain(request.account))
    for name, value in sorted(request.parameters.items()):
        table.add_row(plain(name), plain(value))
    return table


def caller_table(caller: WhoAmIResponse) -> Table:
    """Return who the gateway takes the caller for."""
    table = facts_table()
    table.add_row("principal", plain(caller.principal))
    table.add_row("tenant", plain(caller.tenant))
    table.add_row("roles", plain(", ".join(caller.roles)) or "none")
    if caller.credential:
        table.add_row("credential", plain(caller.credential))
        ends = time_text(caller.expire_time) if caller.HasField("expire_time") else "never"
        table.add_row("expires", ends)
    return table


def exit_table() -> Table:
    """Return what the exit codes mean."""
    table = Table(box=None, title="Exit codes", title_justify="left", show_header=False)
    for code, meaning in MEANINGS.items():
        table.add_row(str(int(code)), meaning)
    return table


def facts_table() -> Table:
    """Return a table of names and values, without any rows."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", max_width=16)
    table.add_column(overflow="fold")
    return table


def _rows(job: Job) -> Iterator[tuple[str, str | Text]]:
    if job.name:
        yield "job", plain(job.name)
    yield "algorithm", _algorithm(job)
    if job.state:
        yield "state", state_text(job)
    if job.HasField("failure"):
        yield "failure", plain(f"{job.failure.code}: {job.failure.message}")
        if job.failure.upstream_request_id:
            yield "upstream request", plain(job.failure.upstream_request_id)
    yield from _wish(job)
    yield from _history(job)
    yield from _outcome(job)


def _wish(job: Job) -> Iterator[tuple[str, str]]:
    arms = [field for field in ALGORITHMS if field.name == jobs.algorithm_name(job)]
    for flag in [*(flag for arm in arms for flag in algorithm_flags(arm)), *job_flags()]:
        for text in flag.read(job):
            yield flag.name.replace("-", " "), plain(text)


def _history(job: Job) -> Iterator[tuple[str, str]]:
    if job.HasField("create_time"):
        yield "created", time_text(job.create_time)
    if job.HasField("end_time"):
        seconds = (job.end_time.ToNanoseconds() - job.create_time.ToNanoseconds()) / 1e9
        yield "ended", f"{time_text(job.end_time)} (after {seconds:.1f} s)"
    for name in ("principal", "request_id", "upstream_job_id"):
        if value := getattr(job, name):
            yield name.replace("_", " "), plain(value)


def _outcome(job: Job) -> Iterator[tuple[str, str]]:
    for file in jobs.result_files(job):
        yield "file", plain(file.uri or file.media_id)
        if file.uri and file.media_id:
            yield "media asset", plain(file.media_id)
        if file.download_url:
            yield "download", plain(file.download_url)
    result = jobs.result(job)
    for field, value in result.ListFields() if result else ():
        for one in value if field.is_repeated else [value]:
            if not isinstance(one, OutputFile):
                yield field.name.replace("_", " "), plain(render(field, one))


def _verdict(allowed: bool, failed: int) -> Text:  # noqa: FBT001 - the protobuf's own field
    if allowed:
        return Text("allowed", style="green")
    return Text(f"denied ({_dimension(failed)})", style="red")


def _dimension(failed: int) -> str:
    known = Decision.Dimension.DESCRIPTOR.values_by_number.get(failed)
    return known.name.removeprefix("DIMENSION_").lower() if known else str(failed)


def _algorithm(job: Job) -> str:
    return jobs.algorithm_name(job).replace("_", "-")
