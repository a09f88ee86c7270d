"""Sets up OpenTelemetry: where spans and metrics go.

The exporter's address and the sampler are OpenTelemetry's own environment variables
(OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, ...), read by its SDK.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter, ObservableGauge
from opentelemetry.sdk.metrics.export import CardinalityLimits, MetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider

from ims_gateway.telemetry.prometheus import PrometheusReader
from ims_gateway.telemetry.readers import ExportingReader
from ims_gateway.telemetry.spans import Processor, Spans

# OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word.
SERVICE: Final = Resource.create({"service.name": "ims-gateway"}).merge(
    OTELResourceDetector().detect()
)
# Series of one instrument, of which the SDK takes 2,000 and lumps the rest together. Labels are
# bounded before that.
MOST_SERIES: Final = 100_000
LIMITS: Final[CardinalityLimits] = {
    ObservableCounter: MOST_SERIES,
    ObservableGauge: MOST_SERIES,
}


@contextmanager
def spans(processors: Sequence[Processor], *, keeps_refusals: bool = False) -> Iterator[Spans]:
    """Give what hands spans on to the processors, and shut those down in the end."""
    provider = TracerProvider(resource=SERVICE, shutdown_on_exit=False)
    try:
        yield Spans(provider, processors, keeps_refusals=keeps_refusals)
    finally:
        for processor in processors:
            processor.shutdown()


def exporting_reader() -> ExportingReader:
    """Return a reader that sends metrics to the OTLP endpoint, by default once a minute."""
    return ExportingReader(OTLPMetricExporter(), cardinality_limits=LIMITS)


def prometheus_reader() -> PrometheusReader:
    """Return a reader whose registry the Prometheus port shows."""
    return PrometheusReader(cardinality_limits=LIMITS)


def meter_provider(*readers: MetricReader) -> MeterProvider:
    """Return a provider that the readers read."""
    instance = Resource({"service.instance.id": str(uuid.uuid4())})
    return MeterProvider(readers, SERVICE.merge(instance), shutdown_on_exit=False)
