"""Many submits over one stream: each like a single one, and the stream bounded."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from ims_gateway.bulk import AT_ONCE
from ims_gateway_client import AsyncClient, Client, GatewayError
from imsgateway.v1 import job_pb2
from imsgateway.v1 import job_service_pb2 as pb
from tests.integration.world import World, a_world, cover, refused, until

State = job_pb2.Job
# Jobs that stay under way, so that queries do not compete with what is measured.
QUIET = {"job_seconds": 600, "settings": {"poll_interval_seconds": 60}}
ROOMY = {"limits": [{"id": "daily", "kind": "day", "max": 100_000}]}
METHOD = "/imsgateway.v1.JobService/SubmitJobs"
FOREIGN = "oss://globex-media/in.mp4"


def item(index: int, job: job_pb2.Job | None = None, **fields) -> pb.SubmitJobsRequest:
    """Return one item of a stream."""
    return pb.SubmitJobsRequest(
        index=index, request=pb.SubmitJobRequest(job=job or cover(), **fields)
    )


async def answers(world: World, *items: pb.SubmitJobsRequest | bytes) -> dict:
    """Send the items over one stream and return the replies by index, as raw bytes allow."""
    async with grpc.aio.insecure_channel(world.target) as channel:
        stream = raw_stream(channel, world.keys["acme"])(_each(items))
        return {reply.index: reply async for reply in stream}


def raw_stream(channel: grpc.aio.Channel, key: str) -> Callable:
    """Return SubmitJobs for bytes and messages."""
    call = channel.stream_stream(
        METHOD,
        request_serializer=lambda value: (
            value if isinstance(value, bytes) else value.SerializeToString()
        ),
        response_deserializer=pb.SubmitJobsResponse.FromString,
    )
    metadata = (("authorization", f"Bearer {key}"),)
    return lambda requests=None: call(requests, metadata=metadata)


async def _each(items) -> AsyncIterator:
    for one in items:
        yield one


def reason(status: status_pb2.Status) -> str:
    """Return the reason of a refusal."""
    return detail(status, error_details_pb2.ErrorInfo).reason


def decision_id(status: status_pb2.Status) -> str:
    """Return the decision id of a refusal."""
    return detail(status, error_details_pb2.ErrorInfo).metadata["decision_id"]


def detail(status: status_pb2.Status, kind):
    """Return the one detail of that kind."""
    (found,) = [packed for packed in status.details if packed.Is(kind.DESCRIPTOR)]
    message = kind()
    any_pb2.Any.Unpack(found, message)
    return message


def paths(status: status_pb2.Status) -> list[str]:
    """Return the fields that a refusal names."""
    return [found.field for found in detail(status, error_details_pb2.BadRequest).field_violations]


def records_of_items(world: World) -> list[dict]:
    """Return the decision records of items, from the log."""
    lines = (world.folder / "decisions.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if "index" in record]


def bad_text(index: int) -> bytes:
    """Return the bytes of an item whose user data is not UTF-8."""
    good = item(index, cover(user_data="§")).SerializeToString()
    return good.replace("§".encode(), b"\xff\xfe")


# What each of ten neighbours is, and how it ends: a reason, or none for a job that is taken.
KINDS: list[tuple[Callable[[int], pb.SubmitJobsRequest | bytes], str]] = [
    (item, ""),
    (lambda i: item(i, cover(FOREIGN)), "POLICY_DENIED"),
    (lambda i: item(i, job_pb2.Job()), "INVALID_REQUEST"),
    (lambda i: item(i, cover(user_data="lost")), "SUBMIT_OUTCOME_UNKNOWN"),
    (lambda i: item(i, cover(priority=11)), "INVALID_REQUEST"),
    (bad_text, "INVALID_REQUEST"),
    (lambda i: item(i, cover(user_data="refused")), "UPSTREAM_REFUSED"),
    (lambda i: item(i, parent="tenants/globex"), "POLICY_DENIED"),
    (item, ""),
    (lambda i: item(i, request_id="7"), "INVALID_REQUEST"),
]


async def test_two_thousand_items_each_end_in_their_own_way(tmp_path):
    """Every item has one reply, refusals end nothing, and the service has what was accepted."""
    count = 2_000
    async with a_world(tmp_path, acme=ROOMY, **QUIET) as world:
        world.fault("accept_then_drop", times=None, match={"UserData": "lost"})
        world.fault("refuse", times=None, match={"UserData": "refused"})
        got = await answers(world, *(KINDS[i % 10][0](i) for i in range(count)))
        assert sorted(got) == list(range(count))
        seen = {i: reason(got[i].error) if got[i].HasField("error") else "" for i in got}
        assert seen == {i: KINDS[i % 10][1] for i in range(count)}
        jobs = [reply.job for reply in got.values() if reply.HasField("job")]
        assert {job.state for job in jobs} == {State.STATE_QUEUED}
        # Two kinds in ten are taken, and a third exists although its reply was lost.
        upstream = Counter(job.parameters.get("UserData", "") for job in world.emulator.jobs)
        assert upstream == {"": count // 5, "lost": count // 10}
        assert {job.upstream_job_id for job in jobs} == {
            job.job_id for job in world.emulator.jobs if "UserData" not in job.parameters
        }
        assert world.used() == len(world.emulator.jobs)
    # Items of one kind that are refused by the hundred share a record; its id is the one they got.
    records = {record["decision_id"]: record for record in world.records if record["count"] > 1}
    records |= {record["decision_id"]: record for record in records_of_items(world)}
    found = Counter(decision_id(got[i].error) for i in got if got[i].HasField("error"))
    assert all(records[each]["count"] == times for each, times in found.items())
    assert sum(record["count"] for record in records.values()) == count
    for i in got:
        if got[i].HasField("error"):
            assert records[decision_id(got[i].error)]["reason"] == seen[i]


async def test_refused_item_says_what_a_single_submit_says(world):
    """The same code, message and details, but for the id of the decision."""
    requests = [
        pb.SubmitJobRequest(job=job_pb2.Job(user_data="u" * 300)),
        pb.SubmitJobRequest(job=cover(FOREIGN)),
        pb.SubmitJobRequest(job=cover(), parent="tenants/nosuch"),
        pb.SubmitJobRequest(),
    ]
    got = await answers(
        world, *(pb.SubmitJobsRequest(index=i, request=one) for i, one in enumerate(requests))
    )
    for i, one in enumerate(requests):
        alone = await refused(world.acme.jobs.SubmitJob(one))
        status = got[i].error
        info = detail(status, error_details_pb2.ErrorInfo)
        assert (status.code, status.message) == (alone.code.value[0], alone.message)
        assert info.reason == alone.reason
        assert {**info.metadata, "decision_id": ""} == {**alone.metadata, "decision_id": ""}
        kinds = sorted(packed.TypeName().rpartition(".")[2] for packed in status.details)
        assert kinds == sorted(alone.details)


async def test_item_has_a_decision_and_a_span_below_the_stream(world):
    """A stream is one trace: its span, an item's below it, the item's steps below that."""
    got = await answers(world, item(7), item(8, cover(FOREIGN)))
    stream = next(span for span in world.spans.spans if span.name == METHOD[1:])
    items = [span for span in world.spans.spans if span.name == "item"]
    assert [span.parent.span_id for span in items] == [stream.context.span_id] * 2
    steps = Counter(
        span.parent.span_id
        for span in world.spans.spans
        if span.name in ("validate", "authorize", "admit", "send", "settle")
    )
    assert sorted(steps.values()) == [2, 5]
    assert set(steps) == {span.context.span_id for span in items}
    by_index = {record["index"]: record for record in world.records if "index" in record}
    info = detail(got[8].error, error_details_pb2.ErrorInfo)
    assert info.metadata["decision_id"] == by_index[8]["decision_id"]
    assert by_index[7]["job"] == got[7].job.name
    assert (by_index[7]["code"], by_index[8]["code"]) == ("OK", "PERMISSION_DENIED")
    (of_stream,) = [record for record in world.records if "index" not in record]
    assert {record["trace_id"] for record in world.records} == {of_stream["trace_id"]}
    assert len({record["decision_id"] for record in world.records}) == 3


async def test_replies_come_in_the_order_of_completion(world):
    """An item that takes long holds back no other."""
    world.fault("accept_then_hang", match={"UserData": "slow"})
    stream = world.acme.jobs.SubmitJobs()
    await stream.write(item(1, cover(user_data="slow")))
    await world.emulator.wait_until_hanging(1)
    await stream.write(item(2))
    assert (await stream.read()).index == 2
    world.emulator.release()
    assert (await stream.read()).index == 1
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF


async def test_a_request_id_in_two_items_is_one_job(world):
    """Bulk or not, a request id is a request id: the same job, and never another body."""
    request_id = str(uuid.uuid4())
    got = await answers(
        world,
        item(1, request_id=request_id),
        item(2, request_id=request_id),
        item(3, cover(priority=3), request_id=request_id),
    )
    taken = [got[i].job.name for i in got if got[i].HasField("job")]
    refusals = {reason(got[i].error) for i in got if got[i].HasField("error")}
    assert refusals == {"REQUEST_ID_REUSED"}
    assert len(set(taken)) == 1
    assert len(world.emulator.jobs) == 1


async def test_quota_is_exact_over_a_stream(tmp_path):
    """A limit of fifty takes fifty of a hundred, and says so to the others."""
    limits = {"limits": [{"id": "daily", "kind": "day", "max": 50}]}
    async with a_world(tmp_path, acme=limits, **QUIET) as world:
        got = await answers(world, *(item(i) for i in range(100)))
        ends = Counter(
            reason(reply.error) if reply.HasField("error") else "" for reply in got.values()
        )
        assert ends == {"": 50, "QUOTA_EXCEEDED": 50}
        assert len(world.emulator.jobs) == world.used() == 50


async def test_no_more_items_are_under_way_than_the_window_has(tmp_path):
    """The gateway reads on when an item is done, and no sooner."""
    account = {"max_in_flight": 4 * AT_ONCE}
    async with a_world(tmp_path, account=account, **QUIET) as world:
        world.fault("hang", times=None)
        stream = world.acme.jobs.SubmitJobs(_each([item(i) for i in range(AT_ONCE + 10)]))
        await world.emulator.wait_until_hanging(AT_ONCE)
        for _ in range(20):
            await world.acme.who_am_i()
        assert world.emulator.hanging == AT_ONCE
        assert world.rows("SELECT COUNT(*) FROM jobs") == [(AT_ONCE,)]
        world.emulator.clear_faults()
        world.emulator.release()
        assert len([reply async for reply in stream]) == AT_ONCE + 10


@pytest.mark.parametrize("ending", ["reads on", "hangs up"])
async def test_caller_that_does_not_read_stops_the_gateway_from_reading(tmp_path, ending):
    """Unread replies fill the connection, then the window; nothing more is taken in."""
    count = 3_000
    labels = {f"label-{n}": "x" * 63 for n in range(8)}
    # A connection that holds 64 KiB, and does not grow with what it has seen.
    options = (("grpc.http2.bdp_probe", 0),)
    async with (
        a_world(tmp_path, acme=ROOMY, **QUIET) as world,
        grpc.aio.insecure_channel(world.target, options) as channel,
    ):
        items = [item(i, cover(labels=labels), validate_only=True) for i in range(count)]
        stream = raw_stream(channel, world.keys["acme"])(_each(items))
        await stands_still(lambda: len(records_of_items(world)))
        taken_in = len(records_of_items(world))
        assert AT_ONCE <= taken_in < 500
        if ending == "reads on":
            assert len([reply async for reply in stream]) == count
        else:
            stream.cancel()
            await until(lambda: world.records and "index" not in world.records[-1])
            assert len(records_of_items(world)) <= taken_in + AT_ONCE
        await until(lambda: not world.gateway.bulk._readers)


async def stands_still(figure: Callable[[], int]) -> None:
    """Return once a figure has begun to grow and has then stayed the same for a second."""
    async with asyncio.timeout(60):
        last, since = 0, asyncio.get_running_loop().time()
        while True:
            now = asyncio.get_running_loop().time()
            if (latest := figure()) != last:
                last, since = latest, now
            elif last and now - since > 1:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("ending", ["hang-up", "deadline"])
async def test_what_was_admitted_is_settled_although_the_caller_is_gone(tmp_path, ending):
    """Items under way end as any abandoned submit does; items not read were never there."""
    async with a_world(tmp_path, account={"max_in_flight": AT_ONCE}, **QUIET) as world:
        world.fault("accept_then_hang", times=None)
        items = [item(i, request_id=str(uuid.uuid4())) for i in range(AT_ONCE + 50)]
        stream = world.acme.jobs.SubmitJobs(
            _each(items), timeout=None if ending == "hang-up" else 6
        )
        waiting = asyncio.ensure_future(stream.read())
        await world.emulator.wait_until_hanging(AT_ONCE)
        if ending == "hang-up":
            stream.cancel()
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
            await waiting
        await until(lambda: len(world.records) == AT_ONCE + 1)
        codes = {record["code"] for record in world.records}
        # At the deadline it is a matter of moments which side says so first.
        assert codes == {"CANCELLED"} or (ending == "deadline" and "DEADLINE_EXCEEDED" in codes)
        world.emulator.release()
        await world.gateway.submission.drain()
        assert world.rows("SELECT state, COUNT(*) FROM jobs GROUP BY state") == [
            (State.STATE_QUEUED, AT_ONCE)
        ]
        assert world.sent == world.used() == AT_ONCE


async def test_item_that_is_only_checked_gets_its_job_or_its_refusal(world):
    """`validate_only` sends nothing, charges nothing, and says what policy and rules say."""
    got = await answers(
        world,
        item(1, validate_only=True),
        item(2, cover(FOREIGN), validate_only=True),
        item(3, job_pb2.Job(), validate_only=True),
    )
    assert got[1].job.cover.output.uri.startswith("oss://acme-media/out/")
    assert not got[1].job.name
    assert reason(got[2].error) == "POLICY_DENIED"
    assert reason(got[3].error) == "INVALID_REQUEST"
    assert world.sent == 0
    assert world.rows("SELECT * FROM jobs") == world.rows("SELECT * FROM counters") == []


UNREADABLE = {
    "text that is not UTF-8": (bad_text(-3), "job.user_data"),
    "an item that is too long": (item(-3, cover(user_data="u" * 300_000)), ""),
}


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_item_that_is_no_message_is_refused_by_itself(world, kind):
    """Its index can be read, so its neighbours need not suffer."""
    bad, path = UNREADABLE[kind]
    got = await answers(world, item(1), bad, item(2))
    assert got[-3].error.code == code_pb2.INVALID_ARGUMENT
    assert paths(got[-3].error) == [path]
    assert got[1].HasField("job")
    assert got[2].HasField("job")
    (record,) = [record for record in world.records if record.get("index") == -3]
    assert record["violations"] == [path]
    assert "policy" not in record


async def test_bytes_without_an_index_end_the_stream_after_what_is_under_way(world):
    """Nobody could be told which item it was; those before it are answered all the same."""
    world.fault("accept_then_hang")
    async with grpc.aio.insecure_channel(world.target) as channel:
        stream = raw_stream(channel, world.keys["acme"])()
        await stream.write(item(1))
        await world.emulator.wait_until_hanging(1)
        await stream.write(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
        await stream.write(item(2))
        world.emulator.release()
        assert (await stream.read()).index == 1
        answer = await refused(stream.read())
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert world.sent == 1


async def test_stream_of_an_unknown_caller_is_refused_before_it_is_read(world):
    """Authentication stands before the first item."""
    stream = AsyncClient(world.target, api_key="imsk_00000000_" + "a" * 43)
    async with stream as nobody:
        answer = await refused(nobody.jobs.SubmitJobs(_each([bad_text(1)])).read())
    assert answer.code == grpc.StatusCode.UNAUTHENTICATED
    assert not records_of_items(world)


async def test_gateway_that_shuts_down_answers_what_is_under_way_and_lets_go(world):
    """A stream has no end of its own, so a shutdown does not wait for one."""
    world.fault("accept_then_hang")
    stream = world.acme.jobs.SubmitJobs()
    await stream.write(item(1))
    await world.emulator.wait_until_hanging(1)
    world.gateway.bulk.drain()
    await stream.write(item(2))
    draining = asyncio.create_task(world.gateway.drain(60))
    world.emulator.release()
    assert (await stream.read()).index == 1
    answer = await refused(stream.read())
    assert answer.code == grpc.StatusCode.UNAVAILABLE
    assert answer.details["RetryInfo"]
    await draining
    assert world.sent == 1


class Cable:
    """A TCP connection to the gateway that can be pulled out."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._pairs: list[asyncio.StreamWriter] = []
        self.cuts = 0

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[str]:
        """Give the address to connect to."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        async with server:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self.cut()

    def cut(self) -> None:
        """Break every connection that there is now."""
        self.cuts += 1
        for writer in self._pairs:
            writer.transport.abort()
        self._pairs.clear()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near = reader, writer
        far = await asyncio.open_connection("127.0.0.1", self._port)
        self._pairs += [near[1], far[1]]
        await asyncio.gather(_pump(near[0], far[1]), _pump(far[0], near[1]))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest.mark.parametrize("kind", ["asyncio", "threads"])
async def test_client_finishes_over_a_broken_connection_without_a_second_job(tmp_path, kind):
    """What has no reply is sent again with its request id: each item is one job, and known."""
    count = 600
    async with a_world(tmp_path, acme=ROOMY, **QUIET) as world:
        cable = Cable(world.gateway.port)
        async with cable.laid() as target:
            loop = asyncio.get_running_loop()
            got: dict[int, job_pb2.Job | GatewayError] = {}

            def take(index: int, said: job_pb2.Job | GatewayError) -> None:
                assert index not in got
                got[index] = said
                if len(got) in (50, 300):
                    loop.call_soon_threadsafe(cable.cut)

            jobs = [cover(user_data=str(n)) for n in range(count)]
            key = world.keys["acme"]
            if kind == "asyncio":
                async with AsyncClient(target, api_key=key) as client:
                    async for index, said in client.submit_many(jobs):
                        take(index, said)
            else:

                def run() -> None:
                    with Client(target, api_key=key) as client:
                        for index, said in client.submit_many(jobs):
                            take(index, said)

                await asyncio.to_thread(run)
        assert cable.cuts == 3
        assert [said for said in got.values() if isinstance(said, GatewayError)] == []
        assert sorted(got) == list(range(count))
        assert {i: said.user_data for i, said in got.items()} == {i: str(i) for i in range(count)}
        sent = Counter(job.parameters["UserData"] for job in world.emulator.jobs)
        assert sent == {str(n): 1 for n in range(count)}
        assert world.used() == count
