"""What the Prometheus port and an OTLP collector say of amounts that were recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from ims_gateway.telemetry import prometheus, providers
from ims_gateway.telemetry.instruments import QUEUE_WAIT, TRACKER_POLLS
from ims_gateway.telemetry.meters import Meters
from tests.otlp_metrics import Collector, collecting

NAME = "imsgateway_queue_wait_seconds"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
SERIES = ("main", "acme")
DELTA = metrics_pb2.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE


def in_trace(number: int) -> Context:
    """Return the context of a sampled span."""
    span = SpanContext(number, number, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return trace.set_span_in_context(NonRecordingSpan(span))


@dataclass
class Ways:
    """A histogram that nothing stands beside, and both ways out."""

    collector: Collector
    port: int = 0

    def __post_init__(self) -> None:
        self.exporting = providers.exporting_reader()
        self.scraped = providers.prometheus_reader()
        readers = (self.scraped, self.exporting)
        self.provider = providers.meter_provider(*readers)
        self.meters = Meters(self.provider, readers)
        self.waits = self.meters.histogram(QUEUE_WAIT)

    async def send(self) -> None:
        """Send what there is."""
        await asyncio.to_thread(self.exporting.force_flush)

    @property
    def sent(self) -> list[metrics_pb2.HistogramDataPoint]:
        """The series that the collector has got last."""
        histogram = self.collector.metrics[QUEUE_WAIT.name].histogram
        return list(histogram.data_points)

    def scrape(self) -> str:
        """Return what Prometheus would get."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urlopen(Request(url, headers={"Accept": OPENMETRICS}), timeout=30) as answer:
            return answer.read().decode()

    async def samples(self) -> list[Any]:
        """Return what the port says of the histogram."""
        families = text_string_to_metric_families(await asyncio.to_thread(self.scrape))
        return [sample for family in families if family.name == NAME for sample in family.samples]

    async def shown(self) -> dict[str, float]:
        """Return its buckets by their bounds, and `sum` and `count`."""
        return {
            sample.labels.get("le") or sample.name.removeprefix(f"{NAME}_"): sample.value
            for sample in await self.samples()
        }


@asynccontextmanager
async def both_ways(monkeypatch: pytest.MonkeyPatch, **variables: str) -> AsyncIterator[Ways]:
    """Open both ways out, with some of OpenTelemetry's variables."""
    async with collecting() as collector:
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.target
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        ways = Ways(collector)
        with prometheus.shown(ways.scraped.registry(), "127.0.0.1:0") as ways.port:
            yield ways
            await asyncio.to_thread(ways.provider.shutdown)


async def test_both_ways_say_what_was_recorded(monkeypatch):
    """An amount on a bound is below it; nothing else has to be measured for a histogram to go."""
    async with both_ways(monkeypatch) as ways:
        for amount in (0.001, 0.002, 0.002, 0.5, 100):
            ways.waits.record(amount, *SERIES)
        shown = await ways.shown()
        await ways.send()
    assert {bound: shown[bound] for bound in ("0.001", "0.0025", "0.25", "0.5", "60.0")} == {
        "0.001": 1,
        "0.0025": 3,
        "0.25": 3,
        "0.5": 4,
        "60.0": 4,
    }
    assert (shown["+Inf"], shown["count"]) == (5, 5)
    assert shown["sum"] == pytest.approx(100.505)
    (sent,) = ways.sent
    assert tuple(sent.explicit_bounds) == QUEUE_WAIT.boundaries
    assert list(sent.bucket_counts) == [1, 2, *[0] * 6, 1, *[0] * 6, 1]
    assert (sent.count, sent.min, sent.max) == (5, 0.001, 100)
    assert sent.sum == pytest.approx(100.505)
    assert {pair.key: pair.value.string_value for pair in sent.attributes} == {
        "imsgateway.account": "main",
        "imsgateway.tenant": "acme",
    }


async def test_histogram_stands_beside_the_others_and_not_before_it_has_amounts(monkeypatch):
    """In one resource and one scope; its place is no metric of its own."""
    async with both_ways(monkeypatch) as ways:
        ways.meters.counter(TRACKER_POLLS, ["changed"])
        await ways.send()
        ways.waits.record(1, *SERIES)
        await ways.send()
    names = []
    for request in ways.collector.requests:
        ((of_scope,),) = (each.scope_metrics for each in request.resource_metrics)
        assert of_scope.scope.name == "ims_gateway"
        names.append({metric.name for metric in of_scope.metrics})
    both = {QUEUE_WAIT.name, TRACKER_POLLS.name}
    assert names == [{TRACKER_POLLS.name}, both, both]
    metric = ways.collector.metrics[QUEUE_WAIT.name]
    assert (metric.unit, metric.description) == (QUEUE_WAIT.unit, QUEUE_WAIT.description)


async def test_bucket_names_the_last_trace_that_was_sampled_once_on_each_way(monkeypatch):
    """The next look has newer ones. A call that is not sampled counts and is no exemplar."""
    async with both_ways(monkeypatch) as ways:
        for number, amount in ((1, 0.3), (2, 0.4), (3, 7)):
            ways.waits.record(amount, *SERIES, context=in_trace(number))
        ways.waits.record(0.45, *SERIES)
        for expected in ({"0.5": (0.4, 2), "10.0": (7, 3)}, {}):
            assert expected == {
                sample.labels["le"]: (
                    sample.exemplar.value,
                    int(sample.exemplar.labels["trace_id"], 16),
                )
                for sample in await ways.samples()
                if sample.exemplar
            }
            await ways.send()
            (sent,) = ways.sent
            assert [
                (exemplar.as_double or exemplar.as_int, int.from_bytes(exemplar.trace_id))
                for exemplar in sent.exemplars
            ] == [*expected.values()]
            for exemplar in sent.exemplars:
                assert exemplar.span_id == exemplar.trace_id[8:]
                assert sent.start_time_unix_nano <= exemplar.time_unix_nano <= sent.time_unix_nano


async def test_cumulative_series_starts_where_it_began(monkeypatch):
    """And goes on from there, however often it is sent."""
    async with both_ways(monkeypatch) as ways:
        for times in (1, 2):
            ways.waits.record(1, *SERIES)
            await ways.send()
            histogram = ways.collector.metrics[QUEUE_WAIT.name].histogram
            assert histogram.aggregation_temporality == CUMULATIVE
            assert ways.sent[0].count == times
    starts = {
        point.start_time_unix_nano
        for request in ways.collector.requests
        for point in request.resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points
    }
    assert len(ways.collector.requests) == 3
    assert len(starts) == 1


@pytest.mark.parametrize("preference", ["delta", "lowmemory"])
async def test_collector_that_wants_deltas_gets_what_is_new(monkeypatch, preference):
    """With smallest and largest of it; the port beside goes on counting all."""
    variables = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": preference}
    async with both_ways(monkeypatch, **variables) as ways:
        ways.waits.record(5, "main", "globex")
        ways.waits.record(0.001, *SERIES)
        ways.waits.record(9, *SERIES)
        await ways.send()
        _, first = ways.sent
        ways.waits.record(0.3, *SERIES)
        # Whoever looks in between takes nothing away.
        assert (await ways.shown())["count"] == 3
        ways.waits.record(0.4, *SERIES)
        await ways.send()
        histogram = ways.collector.metrics[QUEUE_WAIT.name].histogram
        assert histogram.aggregation_temporality == DELTA
        (then,) = ways.sent
        assert (first.count, first.min, first.max) == (2, 0.001, 9)
        assert (then.count, then.min, then.max) == (2, 0.3, 0.4)
        assert then.sum == pytest.approx(0.7)
        assert sum(then.bucket_counts) == 2
        assert then.start_time_unix_nano == first.time_unix_nano
        assert (await ways.shown())["count"] == 4


async def test_what_was_recorded_last_is_sent_at_the_end(monkeypatch):
    """Nothing had asked for it before."""
    async with both_ways(monkeypatch) as ways:
        ways.waits.record(1, *SERIES)
    (sent,) = ways.sent
    assert sent.count == 1


async def test_disabled_sdk_shows_nothing(monkeypatch):
    """On neither way; to record goes on working."""
    async with both_ways(monkeypatch, OTEL_SDK_DISABLED="true") as ways:
        ways.waits.record(1, *SERIES, context=in_trace(1))
        await ways.send()
        assert await ways.shown() == {}
    assert ways.collector.requests == []
