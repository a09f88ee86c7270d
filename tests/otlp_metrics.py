"""An OTLP endpoint for metrics: what a collector would receive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import (
    metrics_service_pb2,
    metrics_service_pb2_grpc,
)
from opentelemetry.proto.metrics.v1 import metrics_pb2


class Collector(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Keeps the metrics that arrive."""

    def __init__(self) -> None:
        self.target = ""
        self.requests: list[metrics_service_pb2.ExportMetricsServiceRequest] = []

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - gRPC's names
        """Take metrics."""
        self.requests.append(request)
        return metrics_service_pb2.ExportMetricsServiceResponse()

    @property
    def metrics(self) -> dict[str, metrics_pb2.Metric]:
        """The last that arrived of each, by name."""
        return {
            metric.name: metric
            for request in self.requests
            for of_resource in request.resource_metrics
            for of_scope in of_resource.scope_metrics
            for metric in of_scope.metrics
        }


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Run an endpoint."""
    collector = Collector()
    server = grpc.aio.server()
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(collector, server)
    collector.target = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(None)
