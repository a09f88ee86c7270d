"""What a running gateway shows on its Prometheus port: all that is declared, and nothing else."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

import grpc
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ims_gateway.identity.keys import new_key
from ims_gateway.telemetry import prometheus, providers
from ims_gateway.telemetry.instruments import (
    CERTIFICATE_TIME_LEFT,
    CREDENTIALS_TIME_LEFT,
    INSTRUMENTS,
    WORKER_RESTARTS,
    Instrument,
    Kind,
)
from ims_gateway.telemetry.labels import NOBODY, OTHER
from ims_gateway.telemetry.meters import Meters
from ims_gateway_client import AsyncClient
from imsgateway.v1 import job_service_pb2 as pb
from tests.integration.world import World, cover, refused, serving, until
from tests.otlp_metrics import collecting

# What only some gateways have.
ELSEWHERE = (CERTIFICATE_TIME_LEFT, CREDENTIALS_TIME_LEFT, WORKER_RESTARTS)
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PRICES = {"currency": "CNY", "prices": [{"algorithm": "*", "micros": 250_000}]}
LIMITS = [
    {"id": "daily", "kind": "day", "max": 3},
    {"id": "open", "kind": "concurrent", "max": 50},
    {"id": "trial", "kind": "day", "max": 1, "shadow": True},
]


@dataclass(frozen=True)
class Port:
    """The port of one gateway."""

    world: World
    number: int

    def text(self, accept: str = OPENMETRICS) -> str:
        """Return what a scrape gets."""
        url = f"http://127.0.0.1:{self.number}/metrics"
        with urlopen(Request(url, headers={"Accept": accept}), timeout=30) as answer:
            return answer.read().decode()

    async def families(self) -> dict[str, Any]:
        """Return the families by name, read as Prometheus reads them."""
        text = await asyncio.to_thread(self.text)
        return {found.name: found for found in text_string_to_metric_families(text)}

    async def samples(self, name: str, *labels: str) -> dict[Any, float]:
        """Return the samples of a name by some of their labels; what differs in others adds up."""
        found: dict[Any, float] = {}
        for family in (await self.families()).values():
            for sample in family.samples:
                if sample.name == name:
                    values = tuple(sample.labels.get(label, "") for label in labels)
                    key = values[0] if len(values) == 1 else values
                    found[key] = found.get(key, 0) + sample.value
        return found


@asynccontextmanager
async def port_of(world: World) -> AsyncIterator[Port]:
    """Open the port of a gateway, as `imsgw serve` does."""
    with prometheus.shown(world.gateway.metrics, "127.0.0.1:0") as number:
        yield Port(world, number)


@pytest.fixture
async def port(make_world) -> AsyncIterator[Port]:
    """Run a gateway with prices, several limits and a rate, and open its port."""
    async with (
        make_world(
            acme={"limits": LIMITS}, prices=PRICES, account={"calls_per_second": 1_000}
        ) as world,
        port_of(world) as opened,
    ):
        yield opened


def exposed_name(instrument: Instrument) -> str:
    """Return the family that an instrument becomes, by measuring once."""
    reader = prometheus.PrometheusReader()
    meters = Meters(MeterProvider([reader], shutdown_on_exit=False), [reader])
    values = ["x"] * len(instrument.attributes)
    if instrument.kind is Kind.HISTOGRAM:
        meters.histogram(instrument).record(1, *values)
    elif instrument.kind is Kind.COUNTER:
        meters.counter(instrument).add(*values)
    else:
        meters.gauge(instrument, lambda: [(tuple(values), 1)])
    ((metric,),) = (
        scope.metrics for scope in reader.get_metrics_data().resource_metrics[0].scope_metrics
    )
    return prometheus.family(metric).name


async def refusal(world: World, fault: str = "", job: Any = None, **more: Any) -> str:
    """Have a submit of acme's refused, by a fault of the service if one is named; return why."""
    if fault:
        world.fault(fault, **more)
    request = pb.SubmitJobRequest(job=job or cover())
    return (await refused(world.acme.jobs.SubmitJob(request))).reason


async def some_traffic(world: World) -> None:
    """Let a job end, another be unknown, and others be refused in all ways."""
    request = pb.SubmitJobRequest(job=cover(), request_id=str(uuid.uuid4()))
    job = (await world.acme.jobs.SubmitJob(request)).job
    assert (await world.acme.jobs.SubmitJob(request)).job.name == job.name
    await world.acme.wait(job.name, 30)
    assert await refusal(world, "throttle", retry_after_ms=1) == "UPSTREAM_THROTTLED"
    assert await refusal(world, "refuse") == "UPSTREAM_REFUSED"
    assert await refusal(world, "accept_then_drop") == "SUBMIT_OUTCOME_UNKNOWN"
    assert await refusal(world, job=cover("oss://globex-media/in.mp4")) == "POLICY_DENIED"
    await world.acme.submit(cover())
    assert await refusal(world) == "QUOTA_EXCEEDED"
    await world.gateway.standings.round()


async def test_all_that_is_declared_is_exposed_and_nothing_else(port):
    """Over the real port, after some traffic; the process's own figures are beside it.

    A gateway with a certificate, with keys that end, or with several workers has one more.
    """
    await some_traffic(port.world)
    await until(lambda: _lag_is_there(port))
    families = await port.families()
    ours = {name for name in families if name != "target" and not name.startswith("process_")}
    here = [each for each in INSTRUMENTS if each not in ELSEWHERE]
    assert ours == {exposed_name(each) for each in here}
    labels = {
        name: {label for sample in found.samples for label in sample.labels} - {"le"}
        for name, found in families.items()
    }
    for each in here:
        declared = {name.replace(".", "_") for name in each.attributes}
        assert labels[exposed_name(each)] == declared, each.name


async def _lag_is_there(port: Port) -> bool:
    return "imsgateway_event_loop_lag_seconds" in await port.families()


async def test_jobs_are_counted_by_what_came_of_their_submits(port):
    """And costs, refusals, polls and ends beside them."""
    await some_traffic(port.world)
    submitted = await port.samples("imsgateway_jobs_submitted_total", "imsgateway_outcome")
    assert submitted == {"accepted": 2, "recalled": 1, "rejected": 2, "unknown": 1}
    assert await port.samples("imsgateway_cost_total", "imsgateway_currency") == {"CNY": 500_000}
    refusals = await port.samples(
        "imsgateway_quota_refusals_total", "imsgateway_tenant", "imsgateway_quota_metric"
    )
    assert refusals == {("acme", "submit/day"): 1}
    assert (await port.samples("imsgateway_decisions_total", "imsgateway_reason")).items() >= {
        ("UPSTREAM_THROTTLED", 1),
        ("UPSTREAM_REFUSED", 1),
        ("SUBMIT_OUTCOME_UNKNOWN", 1),
        ("POLICY_DENIED", 1),
        ("QUOTA_EXCEEDED", 1),
    }
    ended = await port.samples("imsgateway_jobs_ended_total", "imsgateway_job_state")
    assert ended["SUCCEEDED"] >= 1
    throttles = await port.samples("imsgateway_upstream_throttles_total", "imsgateway_account")
    assert throttles == {"main": 1}
    polls = await port.samples("imsgateway_tracker_polls_total", "imsgateway_outcome")
    assert polls["changed"] >= 1
    assert polls["failed"] == 0


async def test_gauges_say_how_the_ledger_stands(port):
    """Jobs nobody knows of, what is held for them, and what is left; trials are left out."""
    await some_traffic(port.world)
    jobs = await port.samples("imsgateway_jobs", "imsgateway_job_state")
    assert jobs["SUBMIT_UNKNOWN"] == 1
    assert jobs["SUBMITTING"] == 0
    assert set(jobs) == {"SUBMITTING", "QUEUED", "RUNNING", "CANCELLING", "SUBMIT_UNKNOWN"}
    ages = await port.samples("imsgateway_jobs_oldest_age_seconds", "imsgateway_job_state")
    assert ages["SUBMIT_UNKNOWN"] > 0
    holds = await port.samples("imsgateway_quota_holds", "imsgateway_job_state")
    # Of each of the three limits.
    assert holds == {"SUBMITTING": 0, "SUBMIT_UNKNOWN": 3}
    left = await port.samples("imsgateway_quota_remaining", "imsgateway_limit_id")
    limit = await port.samples("imsgateway_quota_limit", "imsgateway_limit_id")
    assert left.keys() == limit.keys() == {"daily", "open"}
    assert (left["daily"], limit["daily"]) == (0, 3)
    assert left["open"] < limit["open"] == 50


async def test_duration_of_calls_is_told_by_method_and_status(port):
    """As the conventions have it; only a fault of the server's side has an error type."""
    await some_traffic(port.world)
    name = "rpc_server_call_duration_seconds_count"
    labels = ("rpc_method", "rpc_response_status_code", "error_type")
    counts = await port.samples(name, *labels)
    submit = "imsgateway.v1.JobService/SubmitJob"
    assert counts[submit, "OK", ""] == 3
    assert counts[submit, "PERMISSION_DENIED", ""] == 1
    assert counts[submit, "RESOURCE_EXHAUSTED", ""] == 1
    assert counts[submit, "UNKNOWN", "UNKNOWN"] == 1
    assert (await port.samples(name, "rpc_system_name")).keys() == {"grpc"}


async def test_calls_to_the_service_are_measured_however_they_end(port):
    """With the status where there was an answer, and the way in which they failed."""
    await some_traffic(port.world)
    counts = await port.samples(
        "http_client_request_duration_seconds_count",
        "imsgateway_upstream_action",
        "http_response_status_code",
        "error_type",
    )
    assert counts["SubmitIProductionJob", "200", ""] == 2
    assert counts["SubmitIProductionJob", "", "OutcomeUnknown"] == 1
    assert sum(count for key, count in counts.items() if key[2] == "Throttled") == 1
    assert counts["QueryIProductionJob", "200", ""] >= 1


async def test_slow_bucket_leads_to_the_trace_of_a_call(port):
    """Of calls, of waits and of requests to the service; Prometheus asks for OpenMetrics."""
    await some_traffic(port.world)
    traces = {span.context.trace_id for span in port.world.spans.spans}
    families = await port.families()
    for name in ("rpc_server_call", "http_client_request", "imsgateway_queue"):
        family = next(found for key, found in families.items() if key.startswith(name))
        found = [sample.exemplar for sample in family.samples if sample.exemplar]
        assert found, name
        for exemplar in found:
            assert int(exemplar.labels["trace_id"], 16) in traces
            assert len(exemplar.labels["span_id"]) == 16
    assert "trace_id" not in await asyncio.to_thread(port.text, "text/plain")


async def test_exemplar_of_a_call_is_in_the_bucket_of_its_duration(port):
    """And the span that it names is the call's own, with that duration."""
    await port.world.acme.submit(cover())
    families = await port.families()
    spans = {span.context.span_id: span for span in port.world.spans.spans}
    for sample in families["rpc_server_call_duration_seconds"].samples:
        if sample.exemplar:
            span = spans[int(sample.exemplar.labels["span_id"], 16)]
            assert span.name == sample.labels["rpc_method"]
            assert sample.exemplar.value <= float(sample.labels["le"])
            assert sample.exemplar.value <= (span.end_time - span.start_time) / 1e9


async def test_call_that_is_not_sampled_is_no_exemplar(make_world, monkeypatch):
    """There would be no trace to look at."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    async with make_world() as world, port_of(world) as port:
        await world.acme.submit(cover())
        assert await port.samples("rpc_server_call_duration_seconds_count", "rpc_method")
        assert "trace_id" not in await asyncio.to_thread(port.text)


async def test_two_gateways_in_one_process_do_not_mix_their_numbers(world):
    """A worker's metrics are its own, whoever gathers them."""
    async with world.replica() as other, port_of(world) as port, port_of(other) as beside:
        await world.acme.submit(cover())
        name = "imsgateway_jobs_submitted_total"
        assert await port.samples(name, "imsgateway_outcome") == {"accepted": 1}
        assert await beside.samples(name, "imsgateway_outcome") == {}
        one, two = [(await each.families())["target"].samples[0].labels for each in (port, beside)]
        assert one["service_name"] == two["service_name"] == "ims-gateway"
        assert one["service_instance_id"] != two["service_instance_id"]


async def test_tenants_beyond_the_bound_share_one_label(make_world):
    """The first two keep theirs; calls of nobody's and of five others add two series, not five."""
    others = {f"t{number}": {} for number in range(5)}
    async with (
        make_world(others=others, settings={"metrics_tenants": 2}) as world,
        port_of(world) as port,
    ):
        for name in ("acme", "globex", *others, "acme"):
            bucket = f"oss://{name}-media/in.mp4"
            await world.clients[name].submit(cover(bucket))
        stranger = AsyncClient(world.target, api_key=new_key()[1])
        async with stranger:
            await refused(stranger.jobs.SubmitJob(pb.SubmitJobRequest(job=cover())))
        await world.gateway.standings.round()
        calls = await port.samples("imsgateway_decisions_total", "imsgateway_tenant")
        assert calls == {"acme": 2, "globex": 1, OTHER: 5, NOBODY: 1}
        for name in ("jobs_submitted_total", "queue_wait_seconds_count"):
            seen = await port.samples(f"imsgateway_{name}", "imsgateway_tenant")
            assert seen == {"acme": 2, "globex": 1, OTHER: 5}
        quotas = await port.samples("imsgateway_quota_remaining", "imsgateway_tenant")
        assert quotas.keys() == {"acme", "globex"}


async def test_unknown_method_is_no_label(world):
    """A scan for methods adds no series."""
    async with port_of(world) as port:
        async with grpc.aio.insecure_channel(world.target) as channel:
            for number in range(3):
                method = f"/imsgateway.v1.JobService/Nope{number}"
                with pytest.raises(grpc.aio.AioRpcError):
                    await channel.unary_unary(method)(b"")
        methods = await port.samples("rpc_server_call_duration_seconds_count", "rpc_method")
        assert not any("Nope" in method for method in methods)


def sending(world: World) -> AbstractAsyncContextManager[World]:
    """Run a replica that sends its metrics, as `imsgw serve` does where an endpoint is set."""
    parts = {"metric_readers": (providers.exporting_reader(),)}
    return serving(world.folder, world.emulator, world.keys, world.settings, parts=parts)


async def test_collector_is_sent_the_same_metrics_with_exemplars(world, monkeypatch):
    """Over the wire, beside the Prometheus port, and the last of them when the gateway closes."""
    async with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", collector.target)
        async with sending(world) as other, port_of(other) as port:
            await other.acme.submit(cover())
            await other.gateway.standings.round()
            shown = {name for name in await port.families() if name.startswith("imsgateway")}
        names = set(collector.metrics)
        assert names <= {each.name for each in INSTRUMENTS}
        # More than was shown may have been measured before the last of them was sent.
        assert shown <= {exposed_name(each) for each in INSTRUMENTS if each.name in names}
        (call,) = collector.metrics["rpc.server.call.duration"].histogram.data_points
        traces = {span.context.trace_id for span in other.spans.spans}
        assert int.from_bytes(call.exemplars[0].trace_id) in traces
        (submitted,) = collector.metrics["imsgateway.jobs.submitted"].sum.data_points
        assert submitted.as_int == 1 or submitted.as_double == 1


async def test_gateway_closes_soon_without_its_collector(world, monkeypatch):
    """What is left to send is worth seconds, and nothing more; calls never wait for it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://127.0.0.1:9")
    began = asyncio.get_running_loop().time()
    async with sending(world) as other:
        await other.acme.submit(cover())
    assert asyncio.get_running_loop().time() - began < 30
