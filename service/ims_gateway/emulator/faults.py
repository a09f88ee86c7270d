"""Misbehaviour on demand: what can go wrong, and which call it goes wrong for.

Decides whether a call meets a fault. What the fault then does is told where the
call is: in the handler, the service, the job, and for spoiled answers in spoiled.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ims_gateway.emulator.call import ACTIONS, SUBMIT, Call
from ims_gateway.emulator.envelope import Refusal

_TRIGGER = re.compile(r"emulator:(\w*)")
_CREDENTIAL = re.compile(r"Credential=([^,\s]+)")


class FaultKind(StrEnum):
    """What goes wrong, in the order in which a call could meet it."""

    # In front of the service: it never saw the call, and the nonce stays unspent.
    DROP = "drop"  # the connection is closed without an answer
    BAD_GATEWAY_HTML = "bad_gateway_html"  # 502 with a page for people
    HANG = "hang"  # nothing until released; then the call goes on as if it had just come

    # After the signature was verified and the nonce spent, before anything is accepted.
    THROTTLE = "throttle"  # Throttling.User with x-acs-retry-after
    REFUSE = "refuse"  # any code, message and status
    SERVER_ERROR = "server_error"  # 500 InternalError
    EMPTY_200 = "empty_200"  # 200 without a body
    NO_JOB_ID = "no_job_id"  # 200 with a RequestId and nothing else
    GARBAGE = "garbage"  # 200 with a body that is not JSON

    # After the call was accepted: the job exists.
    ACCEPTED_NO_JOB_ID = "accepted_no_job_id"  # the reply lacks the JobId
    ACCEPT_THEN_HANG = "accept_then_hang"  # the reply waits until released
    ACCEPT_THEN_DROP = "accept_then_drop"  # the connection is closed without an answer
    SLOW = "slow"  # the reply waits for delay_seconds

    # How the accepted job goes on.
    FAIL = "fail"  # ends in Fail
    SUCCESS_WITH_ERROR_FILE = "success_with_error_file"  # an error sentence as file name
    NEVER_FINISH = "never_finish"  # stays in Analyzing
    UNKNOWN_STATUS = "unknown_status"  # says Processing while it runs
    ANALYSING_SPELLING = "analysing_spelling"  # says Analysing while it runs


COURSES = frozenset(
    {
        FaultKind.FAIL,
        FaultKind.SUCCESS_WITH_ERROR_FILE,
        FaultKind.NEVER_FINISH,
        FaultKind.UNKNOWN_STATUS,
        FaultKind.ANALYSING_SPELLING,
    }
)
_MATCHABLE = frozenset({"FunctionName", "Name", "UserData", "JobId", "AccessKeyId"})


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """One fault and the calls that meet it.

    action: the operation it waits for. times: how many calls meet it; None is every one.
    match: what else must be equal, by FunctionName, Name, UserData, JobId or AccessKeyId.
    code, message, http_status: the answer of REFUSE; http_status 0 is the code's own.
    retry_after_ms: of THROTTLE; 0 sends no header. delay_seconds: of SLOW.
    A call uses a plan up when it meets it, even if it is refused for a reason of its own.
    """

    fault: FaultKind
    action: str = SUBMIT
    times: int | None = 1
    match: Mapping[str, str] = field(default_factory=dict)
    code: str = "Forbidden.RAM"
    message: str = "Refused by the emulator."
    http_status: int = 0
    retry_after_ms: int = 1000
    delay_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"action must be one of {', '.join(ACTIONS)}")
        if self.fault in COURSES and self.action != SUBMIT:
            raise ValueError(f"{self.fault} is about a job, so its action is {SUBMIT}")
        if self.times is not None and self.times < 1:
            raise ValueError("times must be at least 1, or null for every call")
        if not self.match.keys() <= _MATCHABLE:
            raise ValueError(f"match can name {', '.join(sorted(_MATCHABLE))}")
        if self.retry_after_ms < 0 or self.delay_seconds < 0:
            raise ValueError("retry_after_ms and delay_seconds must not be negative")
        if self.http_status and not 400 <= self.http_status <= 599:  # noqa: PLR2004 - HTTP's own
            raise ValueError("http_status must be an error status")

    def meets(self, call: Call) -> bool:
        """Return whether the plan is meant for this call."""
        return call.action == self.action and all(
            _claimed_key(call) == value
            if name == "AccessKeyId"
            else call.parameters.get(name) == value
            for name, value in self.match.items()
        )


class Faults:
    """The plans that wait for calls, first come first served."""

    def __init__(self) -> None:
        self._waiting: list[tuple[FaultPlan, int | None]] = []

    @property
    def waiting(self) -> tuple[FaultPlan, ...]:
        """The plans that some call has yet to meet."""
        return tuple(plan for plan, _ in self._waiting)

    def add(self, plan: FaultPlan) -> None:
        """Let a plan wait, behind those that already do."""
        self._waiting.append((plan, plan.times))

    def clear(self) -> None:
        """Drop every plan."""
        self._waiting.clear()

    def take(self, call: Call) -> FaultPlan | None:
        """Return what goes wrong with this call, using up one time of its plan.

        A submit named "emulator:FAULT" brings its own fault and leaves the plans alone.
        Raises Refusal (InvalidParameter.Name) when no such fault exists.
        """
        if call.action == SUBMIT and (trigger := _TRIGGER.match(call.parameters.get("Name", ""))):
            return _triggered(trigger[1])
        for place, (plan, times) in enumerate(self._waiting):
            if plan.meets(call):
                self._use(place, plan, times)
                return plan
        return None

    def _use(self, place: int, plan: FaultPlan, times: int | None) -> None:
        if times == 1:
            del self._waiting[place]
        elif times is not None:
            self._waiting[place] = (plan, times - 1)


def read_plan(document: Any) -> FaultPlan:
    """Read a plan from its JSON form, whose members are the fields of FaultPlan.

    Raises ValueError with a text for whoever wrote the plan.
    """
    if not isinstance(document, dict) or "fault" not in document:
        raise ValueError('a plan is an object with at least a "fault"')
    if unknown := document.keys() - _JSON_TYPES.keys():
        raise ValueError(f"a plan has no {', '.join(sorted(unknown))}")
    if misfits := [name for name, value in document.items() if not _fits(name, value)]:
        raise ValueError(f"wrong type: {', '.join(misfits)}")
    return FaultPlan(**{**document, "fault": FaultKind(document["fault"])})


_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "fault": (str,),
    "action": (str,),
    "times": (int, type(None)),
    "match": (dict,),
    "code": (str,),
    "message": (str,),
    "http_status": (int,),
    "retry_after_ms": (int,),
    "delay_seconds": (int, float),
}


def _fits(name: str, value: Any) -> bool:
    if name == "match" and isinstance(value, dict):
        return all(isinstance(text, str) for text in value.values())
    return type(value) in _JSON_TYPES[name]


def _triggered(name: str) -> FaultPlan:
    try:
        return FaultPlan(FaultKind(name))
    except ValueError as error:
        raise Refusal("InvalidParameter.Name", "Name asks for an unknown fault.") from error


def _claimed_key(call: Call) -> str | None:
    match = _CREDENTIAL.search(call.headers.get("authorization", ""))
    return match[1] if match else None
