"""Items of a stream: which number they have, also where their bytes are no message."""

import pytest

from ims_gateway.api.bulk_items import read_items, reply_of
from ims_gateway.api.malformed import Unreadable, malformed
from ims_gateway.bulk import Item, Outcome
from ims_gateway.errors import InvalidRequest, QuotaExceeded, Violation
from imsgateway.v1 import job_pb2
from imsgateway.v1 import job_service_pb2 as pb

# SubmitJobsRequest.request (2) { job (2) { user_data (3): ff } }: text that is not UTF-8.
BAD = b"\x12\x05\x12\x03\x1a\x01\xff"
INDEXES = {
    "none is zero": (BAD, 0),
    "before the request": (b"\x08\x07" + BAD, 7),
    "behind the request": (BAD + b"\x08\x07", 7),
    "the last of several": (b"\x08\x07" + BAD + b"\x08\x09", 9),
    "a negative one": (b"\x08" + b"\xff" * 9 + b"\x01" + BAD, -1),
    "the smallest": (b"\x08" + b"\x80" * 9 + b"\x01" + BAD, -(1 << 63)),
    "the largest": (b"\x08" + b"\xff" * 8 + b"\x7f" + BAD, (1 << 63) - 1),
    "beside fields of a later contract": (b"\x08\x07\x98\x06\x01" + BAD, 7),
}
NO_INDEX = {
    "broken bytes": b"\x08\x07\x12\xff\xff\xff\xff\x0f",
    "an index that is a text": b"\x0a\x01\x07" + BAD,
    "half a number": BAD + b"\x08\xff",
}


def unreadable(data: bytes) -> Unreadable:
    """Return the bytes as the interceptor hands them on."""
    return Unreadable(data, InvalidRequest(malformed(data, pb.SubmitJobsRequest.DESCRIPTOR)))


async def items(*messages) -> list[Item]:
    """Return the items of a stream of these messages."""

    async def stream():
        for message in messages:
            yield message

    return [item async for item in read_items(stream())]


@pytest.mark.parametrize("kind", INDEXES)
async def test_index_is_read_although_the_request_cannot_be(kind):
    """The refusal goes to the item that earned it, with the paths of a single submit."""
    data, index = INDEXES[kind]
    (item,) = await items(unreadable(data))
    assert item.index == index
    assert [fault.path for fault in item.request.violations] == ["job.user_data"]


@pytest.mark.parametrize("kind", INDEXES)
def test_the_indexes_are_those_that_protobuf_reads(kind):
    """The same bytes with good text are a message with that index."""
    data, index = INDEXES[kind]
    good = data.replace(BAD, BAD[:-1] + b"a")
    assert pb.SubmitJobsRequest.FromString(good).index == index


@pytest.mark.parametrize("kind", NO_INDEX)
async def test_without_an_index_there_is_nobody_to_tell(kind):
    """The stream's reading ends with the refusal of the bytes."""
    with pytest.raises(InvalidRequest):
        await items(unreadable(NO_INDEX[kind]))


async def test_message_is_its_index_and_its_request():
    """What could be read is handed on as it is."""
    request = pb.SubmitJobRequest(job={"user_data": "a"})
    assert await items(pb.SubmitJobsRequest(index=3, request=request)) == [Item(3, request)]


def test_refusal_is_a_status_with_the_decision_of_the_item():
    """The reply names the caller's number, and the call that finds the record."""
    reply = reply_of(Outcome(4, "d-4", InvalidRequest((Violation("job", "r", "is"),))), None)
    assert reply.index == 4
    assert reply.WhichOneof("outcome") == "error"
    assert b"d-4" in reply.error.SerializeToString()


def test_limit_keeps_its_details_in_a_reply():
    """A reply is no trailer: nothing is left out of it."""
    reply = reply_of(Outcome(4, "d-4", QuotaExceeded(())), None)
    kinds = {packed.TypeName() for packed in reply.error.details}
    assert kinds == {
        "google.rpc.ErrorInfo",
        "google.rpc.QuotaFailure",
        "google.rpc.RetryInfo",
    }


def test_job_is_handed_on_as_it_is():
    """A job that was only checked has no record."""
    reply = reply_of(Outcome(4, "d-4", job_pb2.Job(user_data="a")), None)
    assert (reply.index, reply.job.user_data) == (4, "a")
