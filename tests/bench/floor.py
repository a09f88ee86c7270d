"""The floor: a bare grpc.aio handler that makes one HTTPS call with httpx over aiohttp.

    python -m tests.bench.floor ORIGIN CA_FILE

It is what any gateway in this language and with these libraries pays: it parses the request, makes
the call over a pool and answers. It checks, signs, decides and records nothing.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import Final

import grpc
import httpx
from httpx_aiohttp import AiohttpTransport

from ims_gateway.upstream.signature import canonical_query
from imsgateway.v1 import job_service_pb2 as pb
from tests.bench.job import parameters
from tests.bench.listening import until_input_ends

SERVICE: Final = "imsgateway.v1.JobService"


def handler(http: httpx.AsyncClient, url: httpx.URL) -> grpc.GenericRpcHandler:
    """Return what answers SubmitJob with the JobId of a call that is the same every time."""

    async def submit(request: pb.SubmitJobRequest, context: object) -> pb.SubmitJobResponse:  # noqa: ARG001 - gRPC passes both
        response = await http.post(url, headers={"x-acs-action": "SubmitIProductionJob"})
        return pb.SubmitJobResponse(job={"upstream_job_id": response.json()["JobId"]})

    method = grpc.unary_unary_rpc_method_handler(
        submit,
        request_deserializer=pb.SubmitJobRequest.FromString,
        response_serializer=pb.SubmitJobResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"SubmitJob": method})


async def serve(origin: str, ca_file: str) -> None:
    """Serve until standard input ends."""
    url = httpx.URL(f"{origin}/?{canonical_query(parameters())}")
    transport = AiohttpTransport(verify=ssl.create_default_context(cafile=ca_file))
    async with httpx.AsyncClient(transport=transport, trust_env=False) as http:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((handler(http, url),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        await until_input_ends(port)
        await server.stop(0)


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
