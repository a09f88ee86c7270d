"""What happens to a call on its connection: answered, kept waiting, or dropped.

Decides how faults play out over time; the answers themselves are the service's. Never logs
a call.
"""

from http import HTTPStatus

from aiohttp import web

from ims_gateway.emulator.call import Call, read_call
from ims_gateway.emulator.envelope import Refusal, Reply
from ims_gateway.emulator.faults import FaultKind, FaultPlan
from ims_gateway.emulator.hangs import Hangs
from ims_gateway.emulator.service import Service
from ims_gateway.emulator.spoiled import BAD_GATEWAY


class Handler:
    """Handles every request that is not for the control endpoint."""

    def __init__(self, service: Service, hangs: Hangs) -> None:
        self._service = service
        self._hangs = hangs

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one request, or close its connection."""
        action = request.headers.get("x-acs-action", "")
        self._service.counts.of(action).received += 1
        try:
            call = await _read(request)
            plan = self._service.faults.take(call)
        except Refusal as refusal:
            host = request.headers.get("host", "")
            return _response(self._service.refuse(action, host, refusal))
        if plan is None:
            return _response(self._service.answer(call, None))
        reply = await self._misbehave(call, plan)
        return _response(reply) if reply else _hang_up(request)

    async def _misbehave(self, call: Call, plan: FaultPlan) -> Reply | None:
        """Answer a call that meets a fault; None stands for no answer at all."""
        if plan.fault is FaultKind.DROP:
            return None
        if plan.fault is FaultKind.BAD_GATEWAY_HTML:
            return BAD_GATEWAY
        if plan.fault is FaultKind.HANG and not await self._hangs.wait():
            return None
        reply = self._service.answer(call, plan)
        if reply.status == HTTPStatus.OK and not await self._hand_over(plan):
            return None
        return reply

    async def _hand_over(self, plan: FaultPlan) -> bool:
        """Return whether an accepted call gets its answer, when the time for it has come."""
        match plan.fault:
            case FaultKind.ACCEPT_THEN_DROP:
                return False
            case FaultKind.ACCEPT_THEN_HANG:
                return await self._hangs.wait()
            case FaultKind.SLOW:
                return await self._hangs.wait(plan.delay_seconds)
            case _:
                return True


async def _read(request: web.BaseRequest) -> Call:
    try:
        body = await request.read() if request.can_read_body else b""
    except web.HTTPRequestEntityTooLarge as error:
        raise Refusal("InvalidParameter", "The body is too large.", status=error.status) from error
    return read_call(request.method, request.rel_url, request.headers, body)


def _response(reply: Reply) -> web.Response:
    return web.Response(
        body=reply.body,
        status=reply.status,
        content_type=reply.content_type,
        headers=reply.headers or None,
    )


def _hang_up(request: web.BaseRequest) -> web.Response:
    """Close the connection; the response that aiohttp asks for finds nobody to go to."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()
