"""The load driver: submits over one gRPC channel, each time with a new request id.

    python -m tests.bench.driver TARGET API_KEY

Orders come on standard input (see `load`). It does as little as it can for each call, since it
shares the machine with what it measures.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from functools import partial
from typing import Final, TypeAlias

import grpc

from imsgateway.v1 import job_service_pb2 as pb
from tests.bench.job import job
from tests.bench.load import closed_loop, obey

SUBMIT: Final = "/imsgateway.v1.JobService/SubmitJob"
Submit: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, pb.SubmitJobResponse]"
CALL_SECONDS: Final = 20.0


async def drive(target: str, api_key: str) -> None:
    """Carry out orders against the server at that address, until standard input ends."""
    async with grpc.aio.insecure_channel(target) as channel:
        submit: Submit = channel.unary_unary(
            SUBMIT, response_deserializer=pb.SubmitJobResponse.FromString
        )
        metadata = (("authorization", f"Bearer {api_key}"),)
        same_part = pb.SubmitJobRequest(job=job()).SerializeToString()

        async def call() -> None:
            # Two serialized messages in a row are one message with the fields of both.
            own_part = pb.SubmitJobRequest(request_id=str(uuid.uuid4())).SerializeToString()
            reply = await submit(same_part + own_part, metadata=metadata, timeout=CALL_SECONDS)
            if not reply.job.upstream_job_id:
                raise ValueError("the reply names no job of the service")

        await obey(partial(closed_loop, call))


if __name__ == "__main__":
    asyncio.run(drive(*sys.argv[1:]))
