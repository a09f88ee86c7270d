"""Readers of the SDK's that show distributions of ours, too.

The SDK holds a place for each: a metric with its name, which the reader fills in. So resource,
scope and the time of a collection are the SDK's affair, also where nothing else was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from opentelemetry.sdk import metrics
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    Metric,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)

from ims_gateway.telemetry.distribution import Distribution


class DistributionReader(MetricReader):
    """Fills in distributions, before another reader, its sibling, takes the metrics."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # The sibling may begin to collect at once.
        self._reads: dict[str, Callable[[], Histogram | None]] = {}
        super().__init__(*arguments, **options)

    def show(self, name: str, distribution: Distribution) -> None:
        """Show it in the place of the metric of this name, which is not shown without it."""
        temporality = (self._preferred_temporality or {}).get(metrics.Histogram)
        self._reads[name] = distribution.read_as(temporality or AggregationTemporality.CUMULATIVE)

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **more: Any
    ) -> None:
        filled = MetricsData(
            [
                replace(
                    of_resource,
                    scope_metrics=[
                        replace(of_scope, metrics=[*self._filled(of_scope.metrics)])
                        for of_scope in of_resource.scope_metrics
                    ],
                )
                for of_resource in metrics_data.resource_metrics
            ]
        )
        # The sibling's; of MetricReader it is abstract.
        super()._receive_metrics(filled, timeout_millis, **more)  # type: ignore[safe-super]

    def _filled(self, found: Iterable[Metric]) -> Iterator[Metric]:
        for metric in found:
            read = self._reads.get(metric.name)
            if read is None:
                yield metric
            elif (data := read()) is not None:
                yield replace(metric, data=data)


class ExportingReader(DistributionReader, PeriodicExportingMetricReader):
    """Sends the metrics to where its exporter sends them, again and again and in the end."""
