"""The answers of faults that strike in place of the real one.

Decides what such an answer looks like (wire facts, "Errors"). Never decides whether a call
meets a fault.
"""

from collections.abc import Callable, Mapping
from typing import NoReturn

from ims_gateway.emulator.envelope import Refusal, Reply, success
from ims_gateway.emulator.faults import FaultKind, FaultPlan

BAD_GATEWAY = Reply(
    b"<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>",
    status=502,
    content_type="text/html",
)


def spoil(plan: FaultPlan) -> Reply | None:
    """Return the answer of a fault that strikes before anything is accepted, or None.

    Raises Refusal for the faults that are refusals.
    """
    answer = _ANSWERS.get(plan.fault)
    return answer(plan) if answer else None


def _throttle(plan: FaultPlan) -> NoReturn:
    milliseconds = plan.retry_after_ms
    headers = {"x-acs-retry-after": str(milliseconds)} if milliseconds else None
    raise Refusal(
        "Throttling.User", "Request was denied due to user flow control.", headers=headers
    )


def _refuse(plan: FaultPlan) -> NoReturn:
    raise Refusal(plan.code, plan.message, status=plan.http_status or None)


def _fail(_: FaultPlan) -> NoReturn:
    raise Refusal("InternalError", "The request processing has failed due to some unknown error.")


_ANSWERS: Mapping[FaultKind, Callable[[FaultPlan], Reply]] = {
    FaultKind.THROTTLE: _throttle,
    FaultKind.REFUSE: _refuse,
    FaultKind.SERVER_ERROR: _fail,
    FaultKind.EMPTY_200: lambda _: Reply(b""),
    FaultKind.NO_JOB_ID: lambda _: success({}),
    FaultKind.GARBAGE: lambda _: Reply(b'{"RequestId": "C1849434-FC47'),
}
