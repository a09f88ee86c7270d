"""How many calls and streams this process serves at once.

Decides which ones come in. One that is too many is refused before its caller is authenticated or
its message read: whoever is overloaded must be cheap to ask. Calls are counted apart from streams,
which last for as long as a job: watches never keep a submit out, nor submits a watch. Health,
reflection and channelz are not counted, or a busy gateway would look like a dead one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import grpc

from ims_gateway.api.interceptors import Behavior, Context, Continuation, Handler, surrounded
from ims_gateway.errors import GatewayBusy


class Places:
    """A number of places, of which each is taken by one at a time."""

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self.taken = 0

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Take a place for a while. Raises GatewayBusy where there is none."""
        if self.taken >= self._most:
            raise GatewayBusy(f"the gateway serves as many {self._what} as it may: {self._most}")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class Occupancy(grpc.aio.ServerInterceptor):
    """Lets so many calls and streams of our services in at once."""

    def __init__(self, max_calls: int, max_streams: int) -> None:
        self.calls = Places(max_calls, "calls")
        self.streams = Places(max_streams, "streams")

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler of one RPC."""

        async def unary(behavior: Behavior, request: Any, context: Context) -> Any:
            with self.calls.taking():
                return await behavior(request, context)

        async def stream(
            behavior: Behavior, request: Any, context: Context
        ) -> AsyncGenerator[Any, None]:
            with self.streams.taking():
                async with aclosing(behavior(request, context)) as answers:
                    async for answer in answers:
                        yield answer

        method = str(handler_call_details.method)
        return surrounded(await continuation(handler_call_details), method, unary, stream)
