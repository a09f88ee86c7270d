"""A histogram of ours says what the SDK's own would, whoever records and reads at once."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from ims_gateway.telemetry.distribution import Distribution
from ims_gateway.telemetry.instruments import LEDGER_COMMIT_SIZE, QUEUE_WAIT
from ims_gateway.telemetry.meters import Meters
from ims_gateway.telemetry.prometheus import PrometheusReader

AMOUNTS = st.sampled_from(QUEUE_WAIT.boundaries) | st.floats(0, 1e9) | st.integers(0, 100)
RECORD = st.tuples(AMOUNTS, st.sampled_from(["acme", "globex", ""]), st.sampled_from([None, 0, 1]))
CUMULATIVE, DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA


def context_of(number, flags):
    """Return the context of a span, or of none."""
    if flags is None:
        return None
    span = SpanContext(number, number, is_remote=False, trace_flags=TraceFlags(flags))
    return trace.set_span_in_context(NonRecordingSpan(span))


def read(reader, about=float):
    """Return what a reader shows of a histogram by attributes, its sums as `about` has them.

    Times are left out.
    """
    data = reader.get_metrics_data()
    return data and {
        tuple(point.attributes.values()): replace(
            point,
            sum=about(point.sum),
            start_time_unix_nano=0,
            time_unix_nano=0,
            exemplars=[replace(each, time_unix_nano=0) for each in point.exemplars],
        )
        for of_scope in data.resource_metrics[0].scope_metrics
        for metric in of_scope.metrics
        for point in metric.data.data_points
    }


@pytest.mark.parametrize("temporality", [CUMULATIVE, DELTA])
@given(rounds=st.lists(st.lists(RECORD, max_size=12), min_size=1, max_size=3))
def test_says_what_the_histogram_of_the_sdk_says(temporality, rounds):
    """Of the same amounts, bounds included: buckets, sum, count, extremes and exemplars."""
    preferred = {metrics.Histogram: temporality}
    theirs, ours = InMemoryMetricReader(preferred), PrometheusReader(preferred)
    meter = MeterProvider([theirs], shutdown_on_exit=False).get_meter("test")
    oracle = meter.create_histogram(
        "test", explicit_bucket_boundaries_advisory=QUEUE_WAIT.boundaries
    )
    meters = Meters(MeterProvider([ours], shutdown_on_exit=False), [ours])
    distribution = meters.histogram(QUEUE_WAIT)
    for number, records in enumerate(rounds, 1):
        for amount, tenant, flags in records:
            context = context_of(number, flags)
            attributes = QUEUE_WAIT.attributes_of(("main", tenant))
            oracle.record(amount, attributes, context)
            distribution.record(amount, "main", tenant, context=context)
        assert read(ours) == (read(theirs, pytest.approx) or {})


def test_current_span_counts_where_no_context_is_given():
    """As in a call to the service, which is measured within its step."""
    distribution = Distribution(QUEUE_WAIT)
    look = distribution.read_as(CUMULATIVE)
    span = context_of(7, TraceFlags.SAMPLED)
    with trace.use_span(trace.get_current_span(span)):
        distribution.record(1, "main", "acme")
    (exemplar,) = look().data_points[0].exemplars
    assert (exemplar.trace_id, exemplar.span_id, exemplar.value) == (7, 7, 1)


@pytest.fixture
def restless():
    """Let threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless")
def test_readers_see_no_record_halfway_and_lose_none():
    """Two threads record while one reader looks at all and another at what is new."""
    # Each amount has a bucket of its own.
    times, amounts = 20_000, {0: 1, 2: 3, 7: 100}
    distribution = Distribution(LEDGER_COMMIT_SIZE)
    look, look_for_new = distribution.read_as(CUMULATIVE), distribution.read_as(DELTA)

    def record():
        for _ in range(times):
            for amount in amounts.values():
                distribution.record(amount)

    def whole(histogram):
        """Return how many there are, where all that is shown of them goes together."""
        if histogram is None:
            return 0
        (point,) = histogram.data_points
        counted = {bucket: count for bucket, count in enumerate(point.bucket_counts) if count}
        there = [amounts[bucket] for bucket in counted]
        assert point.count == sum(counted.values())
        assert point.sum == sum(amounts[bucket] * count for bucket, count in counted.items())
        assert (point.min, point.max) == (min(there), max(there))
        return point.count

    def all_of_it():
        found = [0]
        while any(each.running() for each in recorders):
            found.append(whole(look()))
        return found == sorted(found)

    def new_ones():
        found = 0
        while any(each.running() for each in recorders):
            found += whole(look_for_new())
        return found

    with ThreadPoolExecutor(4) as threads:
        recorders = [threads.submit(record) for _ in range(2)]
        readers = threads.submit(all_of_it), threads.submit(new_ones)
    assert readers[0].result(), "less than before"
    new = readers[1].result() + whole(look_for_new())
    assert new == whole(look()) == 2 * times * len(amounts)


def test_without_readers_only_the_series_are_kept():
    """However much is recorded."""
    distribution = Meters(MeterProvider(shutdown_on_exit=False)).histogram(LEDGER_COMMIT_SIZE)
    for _ in range(1_000):
        distribution.record(3)
    look = distribution.read_as(CUMULATIVE)
    (point,) = look().data_points
    assert point.count == 1_000
