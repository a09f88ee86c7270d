"""Prints an error of the gateway as what to do next.

Decides the words. Shows what the gateway said and nothing of the job or the credential.
"""

import json
import math
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from ims_gateway_client import errors
from ims_gateway_client.cli import exits
from ims_gateway_client.cli.console import console, plain
from ims_gateway_client.cli.flags import flag_behind
from ims_gateway_client.errors import GatewayError

_ADVICE: Final = {
    errors.NotAuthenticated: "Give a valid API key in IMSCTL_API_KEY, or a key or token with "
    "--api-key-file.",
    errors.PolicyDenied: "`imsctl explain` with the same flags shows which object and which rule. "
    "Ask your platform team for a grant.",
    errors.InvalidRequest: "Correct what is named and try again; nothing was submitted or charged.",
    errors.RequestIdReused: "Take a new --request-id for a new job.",
    errors.JobNotFound: "Check the name: `imsctl list` shows your jobs.",
    errors.UpstreamRefused: "The media service does not take this job; correct what it names.",
    errors.OutcomeUnknown: "Do NOT submit this job again with a new request id: it could be paid "
    "twice. An operator of the platform resolves it.",
    errors.GatewayFault: "Report it to your platform team.",
}


def report(error: GatewayError, *, as_json: bool) -> None:
    """Write the error to standard error, as text or as one JSON document."""
    if as_json:
        document = json.dumps({"error": _facts(error)}, ensure_ascii=False)
        print(document, file=sys.stderr)  # noqa: T201 - imsctl's output
        return
    out = console(stderr=True)
    out.print(Text.assemble(("error: ", "bold red"), plain(error.message)))
    if error.violations or error.quota_violations:
        out.print(_table(error))
    out.print(Text(", ".join(_marks(error)), style="dim"))
    for line in _next_steps(error):
        out.print(Text(f"next: {plain(line)}"))


def _facts(error: GatewayError) -> dict[str, Any]:
    """Return what is known of the error, without what was not said."""
    facts = {
        "exit_code": int(exits.of_error(error)),
        "code": error.code.name,
        "reason": error.reason,
        "message": error.message,
        "violations": [
            {
                "field": wrong.field,
                "flag": flag_behind(wrong.field),
                "description": wrong.description,
            }
            for wrong in error.violations
        ],
        "quota_violations": [
            {
                "subject": full.subject,
                "limit_id": full.limit_id,
                "metric": full.metric,
                "limit": full.limit,
                "description": full.description,
            }
            for full in error.quota_violations
        ],
        "retry_after_seconds": error.retry_after_seconds,
        **_ids(error),
        "metadata": error.metadata,
    }
    return {name: fact for name, fact in facts.items() if fact not in ("", [], {}, None)}


def _ids(error: GatewayError) -> dict[str, str]:
    names = ("decision_id", "call_id", "job_name", "request_id")
    return {name: getattr(error, name) for name in names if getattr(error, name)}


def _table(error: GatewayError) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    for wrong in error.violations:
        where = filter(None, (flag_behind(wrong.field), wrong.field))
        table.add_row(plain("\n".join(where)), plain(wrong.description))
    for full in error.quota_violations:
        table.add_row(plain(full.limit_id or full.metric or full.subject), plain(full.description))
    return table


def _next_steps(error: GatewayError) -> Iterator[str]:
    yield from (advice for kind, advice in _ADVICE.items() if isinstance(error, kind))
    if isinstance(error, errors.LimitExceeded):
        yield _when_to_retry(error.retry_after_seconds)
    if isinstance(error, errors.OutcomeUnknown) and error.job_name:
        yield f"Follow it: imsctl watch {error.job_name}"
    if isinstance(error, errors.Unavailable | errors.DeadlineExceeded):
        yield _how_to_repeat(error)


def _when_to_retry(seconds: float | None) -> str:
    if seconds is None:
        return "Waiting alone does not help: let running jobs end, or ask your platform team."
    wait = timedelta(seconds=math.ceil(seconds))
    return f"Try again in {wait} (h:mm:ss); nothing was charged."


def _how_to_repeat(error: GatewayError) -> str:
    if error.request_id:
        return f"Repeat with --request-id {error.request_id}, and at most one job comes of it."
    return "Check --target and that the gateway runs, then repeat."


def _marks(error: GatewayError) -> Iterator[str]:
    yield error.reason or error.code.name
    for name, value in {**_ids(error), **error.metadata}.items():
        yield f"{name.replace('_', ' ')} {plain(value)}"
