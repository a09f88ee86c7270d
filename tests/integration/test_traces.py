"""The whole trace of each way in which a call ends, as it arrives at an OTLP endpoint."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from textwrap import dedent

import grpc
import pytest

from ims_gateway.telemetry import otlp
from imsgateway.v1 import job_service_pb2
from tests.integration.world import a_world, cover, until
from tests.otlp import as_text, collecting

Submit = job_service_pb2.SubmitJobRequest
SUBMIT = "imsgateway.v1.JobService/SubmitJob"
CALLER = "b7ad6b7169203331"
VARYING = {
    "imsgateway.decision_id": "<id>",
    "imsgateway.job": "<job>",
    "imsgateway.policy_version": "<version>",
    "imsgateway.upstream.request_id": "<request>",
    "imsgateway.wait.estimate_seconds": "<seconds>",
    "imsgateway.wait.seconds": "<seconds>",
    "server.port": "<port>",
}
# What the spans of these names tell in almost every trace: shown as "as usual".
USUAL = {
    SUBMIT: {
        "imsgateway.algorithm": "cover",
        "imsgateway.decision_id": "<id>",
        "imsgateway.principal": "principal/robot",
        "imsgateway.tenant": "acme",
        "rpc.method": SUBMIT,
        "rpc.system.name": "grpc",
    },
    "authorize": {
        "imsgateway.policy_version": "<version>",
        "imsgateway.rule": "acme.yaml#grants[0]",
    },
    "send": {
        "http.request.method": "POST",
        "imsgateway.account": "main",
        "imsgateway.upstream.action": "SubmitIProductionJob",
        "server.address": "localhost",
        "server.port": "<port>",
    },
    "track": {
        "imsgateway.account": "main",
        "imsgateway.algorithm": "cover",
        "imsgateway.job": "<job>",
        "imsgateway.tenant": "acme",
        "imsgateway.upstream.request_id": "<request>",
    },
}


class Traced:
    """A gateway that exports to an endpoint, and calls in traces of their callers."""

    def __init__(self, world, collector):
        self.world = world
        self.collector = collector

    def submit(self, trace_id, *, job=None, client=None, flags="01", **options):
        """Begin a call of a caller that has a trace."""
        request = Submit(job=job or cover(), request_id=options.pop("request_id", ""))
        metadata = (("traceparent", f"00-{trace_id}-{CALLER}-{flags}"),)
        return (client or self.world.acme).jobs.SubmitJob(request, metadata=metadata, **options)

    async def text(self, trace_id, *last):
        """Return the trace once spans of these names have arrived, and the call's own."""

        def there():
            names = {span.name for span in self.collector.trace(trace_id)}
            return {SUBMIT, *last} <= names

        await until(there)
        return as_text(self.collector.trace(trace_id), VARYING, USUAL)


@pytest.fixture
def make_traced(tmp_path, monkeypatch):
    """Return what runs a gateway that exports."""

    @asynccontextmanager
    async def make(**options):
        async with collecting() as collector:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.target)
            monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
            exporting = otlp.processors({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.target})
            async with a_world(tmp_path, span_processors=exporting, **options) as world:
                yield Traced(world, collector)

    return make


def new_trace():
    """Return the id of a caller's trace."""
    return uuid.uuid4().hex


async def failing(call):
    """Await a call that must fail, and return its code's name."""
    with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)) as failed:
        await call
    return failed.value


def tree(text):
    """Return an expected trace without the indent that it has in this file."""
    return dedent(text).strip("\n")


async def test_accepted_job_is_one_trace_from_call_to_completion(make_traced):
    """Below the caller's own span: the call, its steps, the signed call, and the job's end."""
    async with make_traced(job_seconds=0.001) as traced:
        trace_id = new_trace()
        await traced.submit(trace_id)
        assert await traced.text(trace_id, "track") == tree(
            """
            imsgateway.v1.JobService/SubmitJob (server, as usual)
              imsgateway.job: <job>
              imsgateway.quota.outcome: committed
              imsgateway.rule: acme.yaml#grants[0]
              imsgateway.upstream.request_id: <request>
              rpc.response.status_code: OK
              authenticate (internal)
              validate (internal)
              authorize (internal, as usual)
              admit (internal)
                imsgateway.quota.outcome: held
              translate (internal)
              send (client, as usual)
                http.response.status_code: 200
                imsgateway.upstream.request_id: <request>
              settle (internal)
                imsgateway.job: <job>
                imsgateway.job_state: QUEUED
                imsgateway.quota.outcome: committed
              track (internal, as usual)
                imsgateway.job_state: SUCCEEDED
            """
        )
        server = next(span for span in traced.collector.spans if span.name == SUBMIT)
        assert server.parent_span_id.hex() == CALLER
        resource = traced.collector.requests[0].resource_spans[0].resource
        assert {pair.key: pair.value.string_value for pair in resource.attributes}[
            "service.name"
        ] == "ims-gateway"


async def test_failed_job_ends_in_an_error(make_traced):
    """The call went well and stays so; what became of its job did not."""
    async with make_traced(job_seconds=0.001) as traced:
        traced.world.fault("fail")
        trace_id = new_trace()
        await traced.submit(trace_id)
        text = await traced.text(trace_id, "track")
        assert text.count("ERROR") == 1
        assert text.endswith(
            """
  track (internal, as usual) ERROR JOB_FAILED
    error.type: JOB_FAILED
    imsgateway.job_state: FAILED"""
        )


async def test_changes_between_are_shown_and_quiet_polls_are_not(make_traced):
    """A job that runs for long is one span, however often it was asked about."""
    async with make_traced(job_seconds=0.001) as traced:
        traced.world.fault("never_finish")
        trace_id = new_trace()
        await traced.submit(trace_id)
        queries = traced.world.emulator.counts.of("QueryIProductionJob")
        await until(lambda: queries.accepted > 3)
        assert (await traced.text(trace_id, "track")).count("track") == 1
        assert "imsgateway.job_state: RUNNING" in await traced.text(trace_id)


async def test_job_whose_process_died_is_an_error_in_its_trace(make_traced):
    """Whoever finds it goes on with the trace that the intent has kept."""
    async with make_traced() as traced:
        world, trace_id = traced.world, new_trace()
        world.fault("hang")
        waiting = asyncio.ensure_future(traced.submit(trace_id))
        await until(lambda: world.emulator.hanging)
        world.rows("UPDATE jobs SET lease_until = 1 RETURNING 1")
        await world.gateway.tracker.poll_due()
        await until(lambda: traced.collector.trace(trace_id))
        assert as_text(traced.collector.trace(trace_id), VARYING, USUAL) == tree(
            """
            track (internal) ERROR INTERRUPTED
              error.type: INTERRUPTED
              imsgateway.account: main
              imsgateway.algorithm: cover
              imsgateway.job: <job>
              imsgateway.job_state: SUBMIT_UNKNOWN
              imsgateway.tenant: acme
            """
        )
        world.emulator.release()
        await waiting


async def test_invalid_job(make_traced):
    """It ends where the fault is found, and is no error of the gateway."""
    async with make_traced() as traced:
        trace_id = new_trace()
        await failing(traced.submit(trace_id, job=cover("ftp://in.mp4")))
        assert await traced.text(trace_id) == tree(
            """
            imsgateway.v1.JobService/SubmitJob (server, as usual)
              imsgateway.reason: INVALID_REQUEST
              rpc.response.status_code: INVALID_ARGUMENT
              authenticate (internal)
              validate (internal)
                imsgateway.reason: INVALID_REQUEST
            """
        )


async def test_unauthenticated_call(make_traced):
    """Nothing is known of it but that it came."""
    async with make_traced() as traced, grpc.aio.insecure_channel(traced.world.target) as channel:
        trace_id = new_trace()
        submit = channel.unary_unary(f"/{SUBMIT}", Submit.SerializeToString)
        metadata = (("traceparent", f"00-{trace_id}-{CALLER}-01"), ("authorization", "Bearer no"))
        await failing(submit(Submit(job=cover()), metadata=metadata))
        assert await traced.text(trace_id) == tree(
            """
            imsgateway.v1.JobService/SubmitJob (server)
              imsgateway.decision_id: <id>
              imsgateway.reason: NOT_AUTHENTICATED
              rpc.method: imsgateway.v1.JobService/SubmitJob
              rpc.response.status_code: UNAUTHENTICATED
              rpc.system.name: grpc
              authenticate (internal)
                imsgateway.reason: NOT_AUTHENTICATED
            """
        )


async def test_denied_job(make_traced):
    """What of the grants did not fit; it was looked up whether the job is there already."""
    async with make_traced() as traced:
        trace_id = new_trace()
        await failing(traced.submit(trace_id, job=cover("oss://globex-media/in.mp4")))
        assert await traced.text(trace_id) == tree(
            """
            imsgateway.v1.JobService/SubmitJob (server, as usual)
              imsgateway.dimension: READ
              imsgateway.reason: POLICY_DENIED
              rpc.response.status_code: PERMISSION_DENIED
              authenticate (internal)
              validate (internal)
              authorize (internal)
                imsgateway.dimension: READ
                imsgateway.policy_version: <version>
              recall (internal)
            """
        )


async def test_job_over_its_quota(make_traced):
    """Which limit had no room."""
    limits = [{"id": "daily", "kind": "day", "max": 1}]
    async with make_traced(acme={"limits": limits}) as traced:
        await traced.submit(new_trace())
        trace_id = new_trace()
        await failing(traced.submit(trace_id))
        assert await traced.text(trace_id) == tree(
            """
            imsgateway.v1.JobService/SubmitJob (server, as usual)
              imsgateway.limit_id: daily
              imsgateway.quota.metric: submit/day
              imsgateway.quota.outcome: refused
              imsgateway.reason: QUOTA_EXCEEDED
              imsgateway.rule: acme.yaml#grants[0]
              rpc.response.status_code: RESOURCE_EXHAUSTED
              authenticate (internal)
              validate (internal)
              authorize (internal, as usual)
              admit (internal)
                imsgateway.limit_id: daily
                imsgateway.quota.metric: submit/day
                imsgateway.quota.outcome: refused
                imsgateway.reason: QUOTA_EXCEEDED
            """
        )


UPSTREAM = """
imsgateway.v1.JobService/SubmitJob (server, as usual){server_error}
  {server_facts}
  authenticate (internal)
  validate (internal)
  authorize (internal, as usual)
  admit (internal)
    imsgateway.quota.outcome: held
  translate (internal)
  send (client, as usual) ERROR {kind}
    {send_facts}
  settle (internal)
    imsgateway.job: <job>
    imsgateway.job_state: {state}
    imsgateway.quota.outcome: {quota}
"""


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            "throttle",
            UPSTREAM.format(
                server_error=" ERROR UPSTREAM_THROTTLED",
                server_facts="""error.type: UNAVAILABLE
  imsgateway.job: <job>
  imsgateway.quota.outcome: released
  imsgateway.reason: UPSTREAM_THROTTLED
  imsgateway.rule: acme.yaml#grants[0]
  imsgateway.upstream.request_id: <request>
  rpc.response.status_code: UNAVAILABLE""",
                kind="Throttled",
                send_facts="""error.type: Throttled
    http.response.status_code: 400
    imsgateway.upstream.code: Throttling.User
    imsgateway.upstream.request_id: <request>""",
                state="REJECTED",
                quota="released",
            ),
        ),
        (
            "refuse",
            UPSTREAM.format(
                server_error="",
                server_facts="""imsgateway.job: <job>
  imsgateway.quota.outcome: released
  imsgateway.reason: UPSTREAM_REFUSED
  imsgateway.rule: acme.yaml#grants[0]
  imsgateway.upstream.request_id: <request>
  rpc.response.status_code: FAILED_PRECONDITION""",
                kind="AccountRefused",
                send_facts="""error.type: AccountRefused
    http.response.status_code: 403
    imsgateway.upstream.code: Forbidden.RAM
    imsgateway.upstream.request_id: <request>""",
                state="REJECTED",
                quota="released",
            ),
        ),
        (
            "drop",
            UPSTREAM.format(
                server_error=" ERROR SUBMIT_OUTCOME_UNKNOWN",
                server_facts="""error.type: UNKNOWN
  imsgateway.job: <job>
  imsgateway.quota.outcome: held
  imsgateway.reason: SUBMIT_OUTCOME_UNKNOWN
  imsgateway.rule: acme.yaml#grants[0]
  rpc.response.status_code: UNKNOWN""",
                kind="OutcomeUnknown",
                send_facts="error.type: OutcomeUnknown",
                state="SUBMIT_UNKNOWN",
                quota="held",
            ),
        ),
    ],
    ids=["throttled", "refused", "unknown"],
)
async def test_job_that_the_service_did_not_take(make_traced, fault, expected):
    """What the service said, and what became of the quota."""
    async with make_traced() as traced:
        traced.world.fault(fault)
        trace_id = new_trace()
        await failing(traced.submit(trace_id))
        assert await traced.text(trace_id) == expected.strip("\n")


@pytest.mark.parametrize(("ending", "code"), [("hang-up", "CANCELLED"), ("deadline", "DEADLINE")])
async def test_call_that_its_caller_left(make_traced, ending, code):
    """The call has its true end, and what goes on without its caller is in the same trace."""
    async with make_traced(job_seconds=0.001) as traced:
        world, trace_id = traced.world, new_trace()
        world.fault("accept_then_hang")
        call = traced.submit(trace_id, timeout=0.5 if ending == "deadline" else None)
        waiting = asyncio.ensure_future(failing(call))
        await until(lambda: world.emulator.hanging)
        if ending == "hang-up":
            call.cancel()
        await waiting
        await until(lambda: traced.collector.trace(trace_id))
        world.emulator.release()
        is_late = code == "DEADLINE"
        expected = tree(
            """
            imsgateway.v1.JobService/SubmitJob (server, as usual){error}
              {type}imsgateway.job: <job>
              imsgateway.quota.outcome: held
              imsgateway.rule: acme.yaml#grants[0]
              rpc.response.status_code: {code}
              authenticate (internal)
              validate (internal)
              authorize (internal, as usual)
              admit (internal)
                imsgateway.quota.outcome: held
              translate (internal)
              send (client, as usual)
                http.response.status_code: 200
                imsgateway.upstream.request_id: <request>
              settle (internal)
                imsgateway.job: <job>
                imsgateway.job_state: QUEUED
                imsgateway.quota.outcome: committed
              track (internal, as usual)
                imsgateway.job_state: SUCCEEDED
            """
        ).format(
            error=" ERROR DEADLINE_EXCEEDED" if is_late else "",
            type="error.type: DEADLINE_EXCEEDED\n  " if is_late else "",
            code="DEADLINE_EXCEEDED" if is_late else "CANCELLED",
        )
        assert await traced.text(trace_id, "track") == expected


async def test_repeated_call_goes_back_to_the_first(make_traced):
    """It takes nothing, sends nothing, and is linked to the trace that did."""
    async with make_traced() as traced:
        request_id, first, second = str(uuid.uuid4()), new_trace(), new_trace()
        await traced.submit(first, request_id=request_id)
        await traced.submit(second, request_id=request_id)
        assert await traced.text(second) == tree(
            """
            imsgateway.v1.JobService/SubmitJob (server, as usual)
              imsgateway.job: <job>
              imsgateway.recalled: True
              imsgateway.rule: acme.yaml#grants[0]
              rpc.response.status_code: OK
              authenticate (internal)
              validate (internal)
              authorize (internal, as usual)
              admit (internal)
                imsgateway.recalled: True
              attach (internal)
                link to another trace
            """
        )
        attach = next(span for span in traced.collector.trace(second) if span.name == "attach")
        assert attach.links[0].trace_id.hex() == first


async def test_job_that_waited_for_its_turn(make_traced):
    """How long it did, how many were ahead, and how long it was thought to last."""
    async with make_traced(account={"max_in_flight": 1}, job_seconds=0.001) as traced:
        world, trace_id = traced.world, new_trace()
        world.fault("hang")
        first = asyncio.ensure_future(traced.submit(new_trace()))
        await until(lambda: world.emulator.hanging)
        second = asyncio.ensure_future(traced.submit(trace_id))
        await until(lambda: len(world.rows("SELECT 1 FROM jobs")) == 2)
        world.emulator.release()
        await asyncio.gather(first, second)
        text = await traced.text(trace_id, "track")
        _, _, below = text.partition("admit (internal)")
        assert below.startswith(
            """
    imsgateway.quota.outcome: held
  wait (internal)
    imsgateway.wait.ahead: 0
    imsgateway.wait.estimate_seconds: <seconds>
    imsgateway.wait.seconds: <seconds>
  dispatch (internal)
  translate (internal)
  send"""
        )


async def test_submit_that_was_sent_again(make_traced):
    """The same signed bytes went out twice: the attempt is on the span of the call."""
    async with make_traced(account={"resend_unknown": True}) as traced:
        traced.world.fault("drop")
        trace_id = new_trace()
        await traced.submit(trace_id)
        assert "http.request.resend_count: 1" in await traced.text(trace_id)


async def test_trace_goes_on_in_the_call_to_the_service(make_traced):
    """As a header that is not signed, with the span of that very call; baggage is left behind."""
    heads = []

    async def answer(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        body = b'{"JobId":"j1","RequestId":"R1"}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    service = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = service.sockets[0].getsockname()[1]
    account = {"endpoint": f"127.0.0.1:{port}", "scheme": "http", "ca_file": None}
    settings = {"poll_interval_seconds": 60}
    async with service, make_traced(account=account, settings=settings) as traced:
        trace_id = new_trace()
        metadata = (
            ("traceparent", f"00-{trace_id}-{CALLER}-01"),
            ("tracestate", "vendor=value"),
            ("baggage", "user=somebody"),
        )
        await traced.world.acme.jobs.SubmitJob(Submit(job=cover()), metadata=metadata)
        await traced.text(trace_id)
        send = next(span for span in traced.collector.trace(trace_id) if span.name == "send")
    (head,) = heads
    assert f"traceparent: 00-{trace_id}-{send.span_id.hex()}-01\r\n" in head
    assert "tracestate: vendor=value\r\n" in head
    assert "SignedHeaders=host;x-acs-action" in head
    assert "traceparent" not in head.partition("authorization: ")[2].partition("\r\n")[0]
    assert "somebody" not in head
    assert send.trace_state == "vendor=value"


HOSTILE = {
    "no hexadecimal": ("00-" + "z" * 32 + f"-{CALLER}-01",),
    "zeros": (f"00-{'0' * 32}-{CALLER}-01",),
    "a version that is none": (f"ff-{'a' * 32}-{CALLER}-01",),
    "too long": (f"00-{'a' * 32}-{CALLER}-01" + "-x" * 4000,),
    "empty": ("",),
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_bad_context_is_ignored(make_traced, kind):
    """The call goes well, in a trace of its own."""
    async with make_traced() as traced:
        metadata = [("traceparent", value) for value in HOSTILE[kind]]
        metadata.append(("tracestate", "=, ,,," + "x" * 1000))
        await traced.world.acme.jobs.SubmitJob(Submit(job=cover()), metadata=metadata)
        await until(lambda: [span for span in traced.collector.spans if span.name == SUBMIT])
        server = next(span for span in traced.collector.spans if span.name == SUBMIT)
        assert server.parent_span_id == b""
        assert server.trace_id.hex() not in ("a" * 32, "b" * 32, "0" * 32)
        assert server.trace_state == ""


@pytest.mark.parametrize("keeps", [True, False])
async def test_refused_calls_are_kept_where_the_sampler_passes_them_over(make_traced, keeps):
    """What went well is left out as the caller wishes; what did not is there, if that is on."""
    async with make_traced(settings={"traces_keep_refusals": keeps}, job_seconds=0.001) as traced:
        good, denied, last = new_trace(), new_trace(), new_trace()
        job = await traced.submit(good, flags="00")
        await failing(traced.submit(denied, job=cover("oss://other/in.mp4"), flags="00"))
        await traced.world.acme.wait(job.job.name, timeout_seconds=30)
        await traced.submit(last)
        await traced.text(last)
        assert traced.collector.trace(good) == []
        names = [span.name for span in traced.collector.trace(denied)]
        whole = [SUBMIT, "authenticate", "validate", "authorize", "recall"]
        assert names == (whole if keeps else [])


async def test_sampler_of_the_environment_decides(make_traced, monkeypatch):
    """OpenTelemetry's own variables hold."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    async with make_traced() as traced:
        job = await traced.submit(new_trace())
        await failing(traced.submit(new_trace(), job=cover("oss://other/in.mp4")))
        await until(lambda: traced.collector.spans)
        assert "send" not in {span.name for span in traced.collector.spans}
        assert job.job.name
