"""What happens around every handler of our services, outermost first.

    Boundary        opens the call, ends it with a true status, records it
    Authentication  who calls; nothing of a message is looked at before that is known. Asked again
                    for every message of a stream, and while none comes
    Parsing         bytes to message; a bad one is refused like every other bad input. One of many
                    in a stream is handed on, since only the method can refuse it by itself

Order matters. grpc.aio shows an uncaught exception to the caller verbatim, so nothing may be
outside of the boundary; and it answers a message that it cannot parse with INTERNAL before any
handler runs, so it is given no message to parse. An interceptor's own `await continuation()`
returns before the handler runs: what is to surround a call must be wrapped around the handler.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from ims_gateway.api import ratelimit
from ims_gateway.api.malformed import Unreadable, malformed
from ims_gateway.api.peer import peer_of
from ims_gateway.api.status import status_of
from ims_gateway.errors import InvalidRequest, LimitExceeded, NotAuthenticated, Violation
from ims_gateway.identity.authenticator import Authenticator
from ims_gateway.telemetry.call import Call, current
from ims_gateway.telemetry.calls import Calls
from ims_gateway.telemetry.propagation import incoming

# The stubs know these as generic, the runtime does not.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"
Context = grpc.aio.ServicerContext[Any, Any]
Behavior = Callable[[Any, Context], Any]
Answers = AsyncGenerator[Any, None]
Check = Callable[[], Awaitable[None]]

PREFIX: Final = "/imsgateway.v1."
# How long a stream on which nothing happens may outlive its caller's credential.
CHECK_SECONDS: Final = 1.0


class Boundary(grpc.aio.ServerInterceptor):
    """Opens a Call for every RPC, and ends it, whatever its end."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler of one RPC."""
        method = str(handler_call_details.method)

        async def unary(behavior: Behavior, request: Any, context: Context) -> Any:
            call = self._open(method, context)
            try:
                answer = await behavior(request, context)
            except BaseException as error:  # noqa: BLE001 - the boundary is where it ends
                await self._fail(call, context, error)
            else:
                self._calls.close(call)
                return answer

        async def stream(behavior: Behavior, request: Any, context: Context) -> Answers:
            call = self._open(method, context)
            try:
                async with aclosing(behavior(request, context)) as answers:
                    async for answer in answers:
                        yield answer
            except BaseException as error:  # noqa: BLE001 - the boundary is where it ends
                await self._fail(call, context, error)
            else:
                self._calls.close(call)

        return surrounded(await continuation(handler_call_details), method, unary, stream)

    def _open(self, method: str, context: Context) -> Call:
        parent = incoming(context.invocation_metadata() or ())
        call = self._calls.open(method.removeprefix("/"), parent, context.time_remaining())
        current.set(call)
        return call

    async def _fail(self, call: Call, context: Context, error: BaseException) -> None:
        """End a call that did not go well. Raises what grpc.aio turns into the status."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._calls.abandon(call)
            raise error
        refusal = self._calls.refuse(call, error)
        status = rpc_status.to_status(status_of(refusal, call.id))
        trailers = tuple(status.trailing_metadata or ())
        if isinstance(refusal, LimitExceeded):
            # Here, since those of a status take the place of any that were set before.
            trailers += ratelimit.of_refusal(refusal)
        await context.abort(status.code, status.details, trailers)


class Authentication(grpc.aio.ServerInterceptor):
    """Finds out who calls, and whether it still is who calls for as long as a stream lasts."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler of one RPC."""

        async def unary(behavior: Behavior, request: Any, context: Context) -> Any:
            await self._begin(context)
            return await behavior(request, context)

        async def stream(behavior: Behavior, request: Any, context: Context) -> Answers:
            check = await self._begin(context)
            messages = request if isinstance(request, bytes) else _checked(request, check)
            async with aclosing(behavior(messages, context)) as answers:
                async for answer in during(answers, check):
                    yield answer

        method = str(handler_call_details.method)
        return surrounded(await continuation(handler_call_details), method, unary, stream)

    async def _begin(self, context: Context) -> Check:
        """Note who calls, and return what finds out whether it still does."""
        call = current.get()
        metadata, peer = context.invocation_metadata() or (), peer_of(context)
        with call.step("authenticate"):
            caller = call.principal = await self._authenticator.authenticate(metadata, peer)

        async def check() -> None:
            found = await self._authenticator.authenticate(metadata, peer)
            if not found.is_same_as(caller):
                raise NotAuthenticated
            call.principal = found

        return check


async def _checked(messages: AsyncIterator[Any], check: Check) -> AsyncIterator[Any]:
    async for message in messages:
        await check()
        yield message


async def during(answers: Answers, check: Check) -> Answers:
    """Yield the answers for as long as the check holds, also while none comes.

    Raises what the check raises.
    """
    while True:
        answer = asyncio.ensure_future(anext(answers, None))
        try:
            while not (await asyncio.wait([answer], timeout=CHECK_SECONDS))[0]:
                await check()
        finally:
            # Does nothing to an answer that is there.
            if answer.cancel():
                await asyncio.gather(answer, return_exceptions=True)
        if answer.result() is None:
            return
        await check()
        yield answer.result()


class Parsing(grpc.aio.ServerInterceptor):
    """Turns bytes into messages, and says what is wrong with those that are none."""

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler of one RPC."""
        method = str(handler_call_details.method)
        handler = await continuation(handler_call_details)

        async def parsed(messages: AsyncIterator[bytes]) -> AsyncIterator[Any]:
            async for message in messages:
                yield self._parsed_or_not(method, handler, message)

        async def unary(behavior: Behavior, request: bytes, context: Context) -> Any:
            return await behavior(self._parsed(method, handler, request), context)

        async def stream(behavior: Behavior, request: Any, context: Context) -> Answers:
            one = isinstance(request, bytes)
            message = self._parsed(method, handler, request) if one else parsed(request)
            async with aclosing(behavior(message, context)) as answers:
                async for answer in answers:
                    yield answer

        return surrounded(handler, method, unary, stream, parse=False)

    def _parsed_or_not(self, method: str, handler: Any, message: bytes) -> Any:
        try:
            return self._parsed(method, handler, message)
        except InvalidRequest as refusal:
            return Unreadable(message, refusal)

    def _parsed(self, method: str, handler: Any, message: bytes) -> Any:
        if len(message) > self._max_message_bytes:
            fault = f"the message is longer than {self._max_message_bytes} bytes"
            raise InvalidRequest((Violation("", "message.size", fault),))
        try:
            return handler.request_deserializer(message)
        except DecodeError:
            raise InvalidRequest(malformed(message, _request_type(method))) from None


def surrounded(
    handler: Handler | None, method: str, unary: Any, stream: Any, *, parse: bool = True
) -> Handler | None:
    """Return the handler with `unary` or `stream` around its behavior.

    Handlers of other services (health, reflection) stay as they are. Without `parse`, requests
    arrive as bytes.
    """
    if handler is None or not method.startswith(PREFIX):
        return handler
    kinds = (
        (handler.unary_unary, unary, grpc.unary_unary_rpc_method_handler),
        (handler.unary_stream, stream, grpc.unary_stream_rpc_method_handler),
        (handler.stream_stream, stream, grpc.stream_stream_rpc_method_handler),
    )
    behavior, around, make = next(kind for kind in kinds if kind[0])
    return make(
        partial(around, behavior),
        request_deserializer=handler.request_deserializer if parse else None,
        response_serializer=handler.response_serializer,
    )


def _request_type(method: str) -> Descriptor:
    name = method.removeprefix("/").replace("/", ".")
    return descriptor_pool.Default().FindMethodByName(name).input_type
