"""The Prometheus port: what the instruments have measured, as text, with exemplars.

OpenTelemetry's own exporter for Prometheus drops exemplars. Names are made as its specification of
the compatibility with Prometheus says, so they are those that a collector would give.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, Final

import prometheus_client
from opentelemetry.sdk.metrics.export import (
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import format_span_id, format_trace_id
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from ims_gateway.ports import PortTaken
from ims_gateway.telemetry.readers import DistributionReader

# Of the units that instruments have, those that become a part of the name.
UNITS: Final = {"s": "seconds", "{call}/s": "per_second"}
NANOSECONDS: Final = 1_000_000_000


class PrometheusReader(DistributionReader, InMemoryMetricReader):
    """Reads the metrics of one gateway whenever its registry is asked for them."""

    def registry(self) -> CollectorRegistry:
        """Return a registry of these metrics, and of the memory and CPU time of the process."""
        registry = CollectorRegistry()
        registry.register(_Families(self))
        ProcessCollector(registry=registry)
        return registry


class _Families(Collector):
    def __init__(self, reader: PrometheusReader) -> None:
        self._reader = reader

    def collect(self) -> Iterator[Family]:
        data = self._reader.get_metrics_data()
        for of_resource in data.resource_metrics if data else ():
            yield _target(of_resource.resource)
            for of_scope in of_resource.scope_metrics:
                yield from map(family, of_scope.metrics)


@contextmanager
def shown(registry: CollectorRegistry, address: str) -> Iterator[int]:
    """Open the port of a registry on "host:port" meanwhile; an empty address means none.

    Yields the port that was bound. Raises PortTaken.
    """
    if not address:
        yield 0
        return
    host, _, port = address.rpartition(":")
    try:
        server, thread = prometheus_client.start_http_server(int(port), host.strip("[]"), registry)
    except OSError:
        raise PortTaken("IMSGW_METRICS_LISTEN", address) from None
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def family(metric: Metric) -> Family:
    """Return a metric as Prometheus has it."""
    points: list[Any] = list(metric.data.data_points)
    names = sorted({name for point in points for name in point.attributes})
    found = _kind(metric)(
        metric.name.replace(".", "_"),
        metric.description or "",
        labels=[name.replace(".", "_") for name in names],
        unit=UNITS.get(metric.unit or "", ""),
    )
    for point in points:
        values = [str(point.attributes.get(name, "")) for name in names]
        if isinstance(found, HistogramMetricFamily):
            found.add_metric(values, _buckets(point), point.sum)
        else:
            found.add_metric(values, point.value)
    return found


def _kind(
    metric: Metric,
) -> type[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
    if isinstance(metric.data, Histogram):
        return HistogramMetricFamily
    if isinstance(metric.data, Sum) and metric.data.is_monotonic:
        return CounterMetricFamily
    return GaugeMetricFamily


def _buckets(point: HistogramDataPoint) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Return the buckets as Prometheus counts them: each includes those below it."""
    bounds = [*map(str, point.explicit_bounds), "+Inf"]
    exemplars = {
        bisect_left(point.explicit_bounds, each.value): _exemplar(each)
        for each in point.exemplars
        if each.trace_id is not None
    }
    counted = zip(bounds, accumulate(point.bucket_counts), strict=True)
    return [
        (bound, count, exemplars[index]) if index in exemplars else (bound, count)
        for index, (bound, count) in enumerate(counted)
    ]


def _exemplar(found: Any) -> Exemplar:
    labels = {
        "trace_id": format_trace_id(found.trace_id),
        "span_id": format_span_id(found.span_id),
    }
    return Exemplar(labels, found.value, found.time_unix_nano / NANOSECONDS)


def _target(resource: Resource) -> InfoMetricFamily:
    attributes = {name.replace(".", "_"): str(value) for name, value in resource.attributes.items()}
    return InfoMetricFamily("target", "What exposes these metrics.", value=attributes)
