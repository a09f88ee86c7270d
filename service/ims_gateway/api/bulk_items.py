"""Items of a SubmitJobs stream: from messages, or bytes that are none, to use cases and back.

An item whose bytes are no message is refused like any other bad item, as long as its index can be
read. Where even that cannot, nobody could be told which item it was: the stream ends with
INVALID_ARGUMENT, after the replies to what is under way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from google.protobuf import empty_pb2
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from ims_gateway.api.malformed import Unreadable
from ims_gateway.api.status import status_of
from ims_gateway.bulk import Item, Outcome
from ims_gateway.errors import InvalidRequest, Refusal, Violation
from ims_gateway.jobs.record import JobRecord
from imsgateway.v1 import job_pb2
from imsgateway.v1 import job_service_pb2 as pb


async def read_items(
    messages: AsyncIterator[pb.SubmitJobsRequest | Unreadable],
) -> AsyncIterator[Item]:
    """Yield the stream's items. Raises InvalidRequest for bytes without a readable index."""
    async for message in messages:
        if isinstance(message, Unreadable):
            yield Item(_index(message), _within_request(message.refusal))
        else:
            yield Item(message.index, message.request)


def reply_of(
    outcome: Outcome, message: Callable[[JobRecord], job_pb2.Job]
) -> pb.SubmitJobsResponse:
    """Return what the caller is told about an item; `message` makes the job of a record."""
    match outcome.result:
        case Refusal() as refusal:
            status = status_of(refusal, outcome.call_id)
            return pb.SubmitJobsResponse(index=outcome.index, error=status)
        case JobRecord() as record:
            return pb.SubmitJobsResponse(index=outcome.index, job=message(record))
        case job:
            return pb.SubmitJobsResponse(index=outcome.index, job=job)


def _index(item: Unreadable) -> int:
    """Read the index from bytes whose inside cannot be read."""
    number = pb.SubmitJobsRequest.DESCRIPTOR.fields_by_name["index"].number
    try:
        # A message without fields keeps all of them, and looks into none.
        fields = UnknownFieldSet(empty_pb2.Empty.FromString(item.data))
    except DecodeError:
        raise item.refusal from None
    index = 0
    for place in range(len(fields)):
        if fields[place].field_number == number:
            if not isinstance(fields[place].data, int):
                raise item.refusal
            index = fields[place].data
    return index - (1 << 64) if index >> 63 else index


def _within_request(refusal: InvalidRequest) -> InvalidRequest:
    """Return the refusal with the paths that a SubmitJob of the same bytes would give."""
    return InvalidRequest(
        tuple(
            Violation(
                violation.path.removeprefix("request."), violation.rule, violation.description
            )
            for violation in refusal.violations
        )
    )
