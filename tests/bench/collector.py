"""A collector of spans: the gateway exports to it as it would in a cluster. It only counts.

    python -m tests.bench.collector

Prints its port, and how many spans it has got for every line on its standard input, with which it
ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Counts the spans that arrive."""

    def __init__(self) -> None:
        self.spans = 0

    async def Export(  # noqa: N802 - gRPC names the method
        self,
        request: trace_service_pb2.ExportTraceServiceRequest,
        context: Context,  # noqa: ARG002 - gRPC passes it
    ) -> Any:
        """Take one batch."""
        self.spans += sum(
            len(scope.spans)
            for resource in request.resource_spans
            for scope in resource.scope_spans
        )
        return trace_service_pb2.ExportTraceServiceResponse()


async def serve() -> None:
    """Collect until standard input ends."""
    collector = Collector()
    server = grpc.aio.server()
    add = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(collector, server)  # type: ignore[no-untyped-call] # generated without types
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    _say({"port": port})
    while await asyncio.to_thread(sys.stdin.readline):
        _say({"spans": collector.spans})
    await server.stop(0)


def _say(news: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(news) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve())
