"""What goes back over the wire: replies, and refusals in the documented error envelope.

Decides the HTTP status that belongs to an error code (wire facts). Never decides whether
to refuse.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Wire facts, "Errors". Pages disagree on some of them, so a client classifies by code.
# A prefix ends with a dot. Every code that is not here is a 400.
_STATUSES = {
    "InvalidAccessKeyId.NotFound": 404,
    "InvalidApi.NotFound": 404,
    "Forbidden": 403,
    "Forbidden.": 403,
    "InternalError": 500,
    "ServiceUnavailable": 503,
}


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not an error of the emulator
    """A call is refused.

    code: the upstream's error code. message: for people; never holds a value of the call.
    status: HTTP status; None takes the one that belongs to the code.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status or status_of(code)
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as it is written to the wire."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def status_of(code: str) -> int:
    """Return the HTTP status that goes with an error code."""
    return _STATUSES.get(code) or _STATUSES.get(code.partition(".")[0] + ".", 400)


def success(members: Mapping[str, Any]) -> Reply:
    """Return a 200 with a fresh RequestId and the given members."""
    return _json_reply({"RequestId": _request_id(), **members})


def refused(refusal: Refusal, host: str) -> Reply:
    """Return the documented error envelope: RequestId, HostId, Code, Message, Recommend."""
    request_id = _request_id()
    envelope = {
        "RequestId": request_id,
        "HostId": host,
        "Code": refusal.code,
        "Message": refusal.message,
        "Recommend": "https://api.alibabacloud.com/troubleshoot"
        f"?q={refusal.code}&product=ICE&requestId={request_id}",
    }
    return _json_reply(envelope, status=refusal.status, headers=refusal.headers)


def _json_reply(
    document: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Reply:
    body = _ENCODE(document).encode("utf-8", "surrogateescape")  # a host header can be any bytes
    return Reply(body, status=status, headers=headers or {})


# json.dumps would make an encoder for every reply.
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _request_id() -> str:
    return str(uuid.uuid4()).upper()
