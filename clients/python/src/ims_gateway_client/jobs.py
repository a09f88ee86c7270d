"""Questions about a job that read naturally.

Decides by the descriptors of the contract, so that a further algorithm needs no change here. Calls
nobody.
"""

from collections.abc import Iterator
from typing import Final

from google.protobuf.message import Message

from imsgateway.v1.job_pb2 import Job
from imsgateway.v1.media_pb2 import OutputFile

TERMINAL_STATES: Final = frozenset(
    {Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED, Job.STATE_REJECTED}
)
ALGORITHM_NAMES: Final = tuple(
    field.name for field in Job.DESCRIPTOR.oneofs_by_name["algorithm"].fields
)


def is_terminal(job: Job) -> bool:
    """Return whether the job has ended, well or badly."""
    return job.state in TERMINAL_STATES


def has_succeeded(job: Job) -> bool:
    """Return whether the job has ended well."""
    return job.state == Job.STATE_SUCCEEDED


def state_name(job: Job) -> str:
    """Return the job's state, such as "RUNNING"; one of a later contract as its number."""
    known = Job.State.DESCRIPTOR.values_by_number.get(job.state)
    return known.name.removeprefix("STATE_") if known else str(job.state)


def algorithm_name(job: Job) -> str:
    """Return the name of the algorithm's field, such as "video_detext", or "" where none is set."""
    return job.WhichOneof("algorithm") or ""


def algorithm(job: Job) -> Message | None:
    """Return the algorithm's message, with input, output and parameters; None where none is set."""
    name = algorithm_name(job)
    return getattr(job, name) if name else None


def result(job: Job) -> Message | None:
    """Return the algorithm's own result, or None where the job has none yet."""
    chosen = algorithm(job)
    if chosen is None or not chosen.HasField("result"):
        return None
    found: Message = getattr(chosen, "result")  # noqa: B009 - Message does not declare its fields
    return found


def result_files(job: Job) -> list[OutputFile]:
    """Return the files that the job has made, whatever its algorithm calls them."""
    found = result(job)
    return [] if found is None else list(_files_below(found))


def _files_below(message: Message) -> Iterator[OutputFile]:
    if isinstance(message, OutputFile):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type and not field.message_type.GetOptions().map_entry:
            for child in value if field.is_repeated else [value]:
                yield from _files_below(child)
