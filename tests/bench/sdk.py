"""The official SDK, called directly: what the gateway's callers would otherwise use.

    python -m tests.bench.sdk sync|async ENDPOINT CA_FILE

Orders come on standard input (see `load`). Its asynchronous calls make a session and load the CAs
anew each time; that is the SDK's own doing.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial

from alibabacloud_ice20201109.client import Client  # type: ignore[import-untyped]
from alibabacloud_tea_openapi.utils_models import Config  # type: ignore[import-untyped]
from darabonba.runtime import RuntimeOptions  # type: ignore[import-untyped]

from tests.bench.job import sdk_request
from tests.bench.load import Order, Outcome, closed_loop, closed_loop_in_threads, obey


def client(endpoint: str, ca_file: str) -> Client:
    """Return a client of the account that the bench makes up."""
    return Client(
        Config(
            access_key_id="BENCH-ACCESS-KEY",
            access_key_secret="bench-secret",
            endpoint=endpoint,
            protocol="https",
            region_id="cn-shanghai",
            ca=ca_file,
        )
    )


async def main(kind: str, endpoint: str, ca_file: str) -> None:
    """Carry out orders until standard input ends."""
    sdk, request, runtime = client(endpoint, ca_file), sdk_request(), RuntimeOptions()

    async def call() -> None:
        reply = await sdk.submit_iproduction_job_with_options_async(request, runtime)
        _check(reply.body.job_id)

    def call_in_thread() -> None:
        _check(sdk.submit_iproduction_job_with_options(request, runtime).body.job_id)

    async def in_threads(order: Order) -> Outcome:
        return await asyncio.to_thread(closed_loop_in_threads, call_in_thread, order)

    await obey(partial(closed_loop, call) if kind == "async" else in_threads)


def _check(job_id: str | None) -> None:
    if not job_id:
        raise ValueError("the reply names no job")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
