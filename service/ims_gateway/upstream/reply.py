"""What the service's answers say.

Decides whether an answer is a clear one, and reads the members that every answer shares. Never
looks into a job (`query` hands on what it got) and never talks to anybody.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ims_gateway.upstream.errors import OutcomeUnknown, kind_of
from ims_gateway.upstream.redaction import bounded_name

_MAX_RETRY_AFTER_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, as far as it could be read.

    body: the JSON object; None where the body was anything else. request_id: from the body or,
    where a proxy or the API gateway answered, from the header.
    """

    action: str
    http_status: int
    body: dict[str, Any] | None
    request_id: str | None
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class SubmitReply:
    """The service took the job and calls it `job_id`. `resends`: how often it was sent again."""

    job_id: str
    request_id: str | None
    http_status: int
    resends: int = 0


@dataclass(frozen=True, slots=True)
class CancelReply:
    """The service took the cancellation. `message` is its free text and may be empty."""

    message: str
    request_id: str | None
    http_status: int


def read_reply(action: str, http_status: int, headers: Mapping[str, str], content: bytes) -> Reply:
    """Read an answer. Any bytes are allowed; headers: looked up in lower case."""
    body = _json_object(content)
    request_id = bounded_name(_member(body, "RequestId")) if body else None
    if request_id and _is_success(http_status):
        return Reply(action, http_status, body, request_id)
    return Reply(
        action,
        http_status,
        body,
        request_id or bounded_name(headers.get("x-acs-request-id")),
        _retry_after_seconds(headers.get("x-acs-retry-after")),
    )


def read_object(reply: Reply) -> dict[str, Any]:
    """Return the body of a clear "yes". Raises UpstreamError for every other answer."""
    if reply.body is None:
        raise _unknown(reply, "the answer is not a JSON object")
    if "Code" in reply.body or "code" in reply.body:
        raise _refusal(reply, reply.body)
    if not _is_success(reply.http_status):
        raise _unknown(reply, "the answer is an error without a Code")
    return reply.body


def read_submit(reply: Reply) -> SubmitReply:
    """Return the job that the answer names. Raises UpstreamError."""
    job_id = bounded_name((reply.body or {}).get("JobId"))
    if job_id is None:
        read_object(reply)
        raise _unknown(reply, "the answer names no job")
    if not _is_success(reply.http_status):
        raise _unknown(reply, "the answer is an error that names a job")
    return SubmitReply(job_id, reply.request_id, reply.http_status)


def read_query(reply: Reply, job_id: str) -> dict[str, Any]:
    """Return what is said of that job. Raises UpstreamError, also where it is another job's."""
    body = read_object(reply)
    if body.get("JobId") not in (job_id, "", None):
        raise _unknown(reply, "the answer is about another job")
    return body


def read_cancel(reply: Reply) -> CancelReply:
    """Return what the service says to a cancellation. Raises UpstreamError."""
    message = read_object(reply).get("Message")
    return CancelReply(
        message if isinstance(message, str) else "", reply.request_id, reply.http_status
    )


def _refusal(reply: Reply, body: Mapping[str, Any]) -> Exception:
    code = bounded_name(_member(body, "Code"))
    message = _member(body, "Message")
    kind = kind_of(code) if code else OutcomeUnknown
    return kind(
        reply.action,
        f"the service answered {code or 'with an unreadable Code'}",
        code=code,
        message=message if isinstance(message, str) else "",
        request_id=reply.request_id,
        http_status=reply.http_status,
        retry_after_seconds=reply.retry_after_seconds,
    )


def _unknown(reply: Reply, reason: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        reply.action, reason, request_id=reply.request_id, http_status=reply.http_status
    )


def _is_success(http_status: int) -> bool:
    return 200 <= http_status < 300  # noqa: PLR2004 - the success class of HTTP


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        # RecursionError: garbage such as a megabyte of "[".
        return None
    return document if isinstance(document, dict) else None


def _member(body: Mapping[str, Any], name: str) -> object:
    # The official SDK reads both spellings.
    return body.get(name) or body.get(name[0].lower() + name[1:])


def _retry_after_seconds(milliseconds: str | None) -> float | None:
    """Read x-acs-retry-after (wire facts). The official SDK too takes zero for "not said"."""
    if milliseconds is None or not (milliseconds.isascii() and milliseconds.isdigit()):
        return None
    seconds = min(float(milliseconds[:12]) / 1000, _MAX_RETRY_AFTER_SECONDS)
    return seconds or None
