"""Logs: a line of JSON each on standard error, or text for people on a terminal.

Decides which fields a line has and what of the libraries' own lines is heard. Lines of this program
and of every library go through the same chain, so each has a time, a level, and the call that it is
about. What it never does: write the query of an address, a value under a secret's name, or the
text of an error, which may quote whatever the error is about.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from contextvars import Context
from traceback import format_tb
from types import TracebackType
from typing import Any, Final

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor, WrappedLogger

from ims_gateway.telemetry.call import Call, current

OURS: Final = "ims_gateway"
# httpx logs every URL, and a URL holds the whole job; casbin logs every denied object.
# OpenTelemetry quotes what callers send as their trace.
TALKATIVE: Final = (
    "httpx",
    "httpcore",
    "casbin",
    "aiohttp",
    "alembic",
    "opentelemetry.trace.span",
    "opentelemetry.trace.propagation.tracecontext",
)
# A belt only: nothing hands these to the log.
SECRET: Final = re.compile(
    r"authorization|cookie|password|pepper|secret|signature|token|api_?key|access_?key|private_?key",
    re.IGNORECASE,
)
# Of an address: who it is asked as, and what it is asked.
USER: Final = re.compile(r"://[^/\s@]*@")
QUERY: Final = re.compile(r"\?[^\s\"'<>]*")
REMOVED: Final = "[removed]"

log = structlog.get_logger(OURS)


def configure() -> None:
    """Set up structlog and the standard library's logging for the process.

    Called within an event loop it hears of the failures of that loop's tasks, too.
    """
    terminal = sys.stderr.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        of_call,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        without_secrets,
        failure,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(terminal=terminal),
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(OURS).setLevel(logging.INFO)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)
    _hear_of_failures()


def of_call(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Add whose call, or whose job, a line is about; what the line says itself stays."""
    call = current.get(None)
    for name, value in _facts(call) if call else ():
        if value:
            event.setdefault(name, value)
    kind, _, rest = str(event.get("job", "")).partition("/")
    if kind == "tenants":
        event.setdefault("tenant", rest.partition("/")[0])
    return event


def _facts(call: Call) -> Iterator[tuple[str, str]]:
    span = call.span.get_span_context()
    if span.is_valid:
        yield "trace_id", trace.format_trace_id(span.trace_id)
        yield "span_id", trace.format_span_id(span.span_id)
    yield "tenant", call.tenant or (call.principal.tenant if call.principal else "")
    yield "job", call.job
    yield "decision_id", call.id


def without_secrets(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Remove what stands under a secret's name, and the query of every address."""
    for name, value in event.items():
        if name.startswith("_"):
            continue
        if SECRET.search(name):
            event[name] = REMOVED
        elif isinstance(value, str) and "://" in value:
            event[name] = QUERY.sub(f"?{REMOVED}", USER.sub(f"://{REMOVED}@", value))
    return event


def failure(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Say which error it was and where, as OpenTelemetry names that, and not in its own words."""
    found = event.pop("exc_info", None)
    error = sys.exc_info()[1] if found is True else found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["exception.type"] = _name_of(error)
        event["exception.stacktrace"] = "\n".join(_told(error))
    return event


def _told(error: BaseException) -> Iterator[str]:
    """Yield an error, after those that it came of, with the lines of source that it passed."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _told(cause)
    yield "".join(format_tb(error.__traceback__)) + _name_of(error)
    for member in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from _told(member)


def _name_of(error: BaseException) -> str:
    """Return an error's class, and of one of the operating system's what that calls it."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else _full_name(kind)
    reason = error.strerror if isinstance(error, OSError) else None
    return f"{name}: {reason}" if reason else name


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _rendering(*, terminal: bool) -> list[Processor]:
    if not terminal:
        return [structlog.processors.JSONRenderer(ensure_ascii=False)]
    return [_stack_last, structlog.dev.ConsoleRenderer()]


def _stack_last(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Have the console print the stack below the line."""
    if stack := event.pop("exception.stacktrace", None):
        event["exception"] = stack
    return event


def _hear_of_failures() -> None:
    """Log what nobody caught: in the program, in a thread, in a finalizer, in a task."""

    def program(
        _kind: type[BaseException], error: BaseException, _trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            return
        log.critical("unhandled", exc_info=error)

    def thread(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else ""
        log.error("unhandled", thread=name, exc_info=args.exc_value)

    sys.excepthook = program
    threading.excepthook = thread
    sys.unraisablehook = lambda args: _unrelated(exc_info=args.exc_value)
    with suppress(RuntimeError):
        asyncio.get_running_loop().set_exception_handler(_of_loop)


def _of_loop(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what the event loop reports: its own words, and not the objects it names."""
    task = context.get("task") or context.get("future")
    name = task.get_name() if isinstance(task, asyncio.Task) else ""
    _unrelated(said=context["message"], task=name, exc_info=context.get("exception"))


def _unrelated(**facts: Any) -> None:
    """Log what has come up in the midst of somebody else's call, when garbage was collected."""
    Context().run(log.error, "unhandled", **facts)
