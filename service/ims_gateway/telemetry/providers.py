"""Sets up OpenTelemetry: where spans go, and the Prometheus port.

The exporter's address and the sampler are OpenTelemetry's own environment variables
(OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, ...), read by its SDK.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import prometheus_client
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Counter, Histogram, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client.registry import REGISTRY, Collector

from ims_gateway.telemetry import conventions

SERVICE: Final = Resource.create({"service.name": "ims-gateway"})


def exporting_processor() -> SpanProcessor:
    """Return a processor that sends spans in batches to the OTLP endpoint of the environment."""
    return BatchSpanProcessor(OTLPSpanExporter())


def tracer_provider(*processors: SpanProcessor) -> TracerProvider:
    """Return a provider that feeds the processors; without any, spans are made and dropped."""
    provider = TracerProvider(resource=SERVICE)
    for processor in processors:
        provider.add_span_processor(processor)
    return provider


def meter_provider() -> MeterProvider:
    """Return a provider whose metrics the Prometheus port shows."""
    return MeterProvider([PrometheusMetricReader()], resource=SERVICE)


def serve_metrics(address: str, registry: Collector = REGISTRY) -> Callable[[], None]:
    """Open the Prometheus port on "host:port"; returns what closes it. Raises OSError."""
    host, _, port = address.rpartition(":")
    server, thread = prometheus_client.start_http_server(int(port), host.strip("[]"), registry)

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close


def call_duration(provider: MeterProvider) -> Histogram:
    """Return the histogram of how long calls take, in milliseconds."""
    meter = provider.get_meter("ims_gateway")
    return meter.create_histogram(
        conventions.RPC_DURATION, "ms", "Time from a call's first message to its end."
    )


def reloads(provider: MeterProvider, faults: Callable[[], int]) -> Counter:
    """Return the counter of changes of the configuration; `faults` that are left are shown, too."""
    meter = provider.get_meter("ims_gateway")
    meter.create_observable_gauge(
        conventions.FAULTS,
        [lambda _: [Observation(faults())]],
        "{fault}",
        "What is wrong with configuration files that were not taken.",
    )
    return meter.create_counter(
        conventions.RELOADS, "{reload}", "Changes of the configuration, by their outcome."
    )


def observe_lost_decisions(provider: MeterProvider, lost: Mapping[str, Callable[[], int]]) -> None:
    """Show how many decision records each sink has lost."""
    meter = provider.get_meter("ims_gateway")
    meter.create_observable_counter(
        conventions.DECISIONS_LOST,
        [
            lambda _: [
                Observation(count(), {conventions.SINK: sink}) for sink, count in lost.items()
            ]
        ],
        "{record}",
        "Records of decisions that could not be written.",
    )


def observe_certificate(provider: MeterProvider, seconds_left: Callable[[], float]) -> None:
    """Show for how long the server's certificate is good."""
    provider.get_meter("ims_gateway").create_observable_gauge(
        conventions.CERTIFICATE_TIME_LEFT,
        [lambda _: [Observation(seconds_left())]],
        "s",
        "Time until the server's certificate ends.",
    )


def shadow_differences(provider: MeterProvider) -> Callable[[str], None]:
    """Return what counts how policies on trial differ: allows, denies, or failed."""
    counter = provider.get_meter("ims_gateway").create_counter(
        conventions.SHADOW_DIFFERENCES,
        "{decision}",
        "Decisions in which a policy on trial differs from the one in force.",
    )
    return lambda outcome: counter.add(1, {conventions.SHADOW_OUTCOME: outcome})
