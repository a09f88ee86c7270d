"""Logs are lines of JSON that say whose call they are about, and nothing that is secret."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext

from ims_gateway.telemetry import logs
from ims_gateway.telemetry.call import current
from tests.calls import a_call

SECRET = "hunter2"
LINES = """
import asyncio, logging, threading, warnings
import structlog
from ims_gateway.telemetry import logs, propagation

log = structlog.get_logger("ims_gateway.somewhere")

def fail(secret):
    raise ZeroDivisionError(secret)

async def main():
    logs.configure()
    for name in ("httpx", "httpcore", "casbin", "casbin.enforcer", "aiohttp.client", "alembic"):
        logging.getLogger(name).info("hunter2")
        logging.getLogger(name).warning("hunter2")
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    propagation.incoming([("traceparent", parent), ("tracestate", "=hunter2")])
    propagation.incoming([("traceparent", "hunter2" * 1000)])
    logging.getLogger("somebody").info("not heard")
    logging.getLogger("somebody").warning("heard %s", "once")
    log.debug("not shown")
    log.info("shown", job="tenants/acme/jobs/1")
"""
FAILURES = """
    try:
        try:
            fail("hunter2")
        except ZeroDivisionError as error:
            raise ValueError("hunter2") from error
    except ValueError as error:
        log.error("fault", exc_info=error)
    try:
        fail("hunter2")
    except ZeroDivisionError:
        logging.getLogger("somebody").exception("failed")
    async def lost():
        fail("hunter2")
    task = asyncio.create_task(lost(), name="a-task")
    await asyncio.wait([task])
    del task
    thread = threading.Thread(target=fail, args=("hunter2",), name="a-thread")
    thread.start()
    thread.join()
    class Bad:
        def __del__(self):
            fail("hunter2")
    Bad()
    warnings.warn("mind this", stacklevel=1)
    raise OSError(28, "No space left", "/hunter2")

asyncio.run(main())
"""


def run(program: str, code: int = 0) -> tuple[str, list[dict[str, str]]]:
    """Run a program, and return what it wrote to standard error, as text and line by line."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    return done.stderr, [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_is_json_whoever_wrote_it():
    """A library's line looks like our own; those who would tell of a job are not heard."""
    text, records = run(LINES + "asyncio.run(main())")
    assert [record["event"] for record in records] == ["heard once", "shown"]
    assert [record["level"] for record in records] == ["warning", "info"]
    assert [record["logger"] for record in records] == ["somebody", "ims_gateway.somewhere"]
    assert all(record["timestamp"].endswith("Z") for record in records)
    assert records[1]["tenant"] == "acme"
    assert SECRET not in text


def test_whatever_nobody_caught_is_one_line_that_says_where():
    """In a task, a thread, a finalizer or the program; never in the error's own words."""
    text, records = run(LINES + FAILURES, code=1)
    fault, failed, task, thread, finalizer, warning, program = records[2:]

    assert SECRET not in text
    assert (fault["event"], fault["exception.type"]) == ("fault", "ValueError")
    stack = fault["exception.stacktrace"]
    assert stack.index("ZeroDivisionError\n") < stack.index("ValueError")
    assert "in fail\n" in stack
    assert (failed["event"], failed["logger"]) == ("failed", "somebody")
    assert failed["exception.type"] == "ZeroDivisionError"
    assert (task["event"], task["task"]) == ("unhandled", "a-task")
    assert task["said"] == "Task exception was never retrieved"
    assert (thread["event"], thread["thread"]) == ("unhandled", "a-thread")
    assert finalizer["event"] == "unhandled"
    assert {each["exception.type"] for each in (task, thread, finalizer)} == {"ZeroDivisionError"}
    assert (warning["level"], warning["logger"]) == ("warning", "py.warnings")
    assert (program["level"], program["exception.type"]) == ("critical", "OSError: No space left")


def test_people_on_a_terminal_get_text():
    """With the stack below the line, and no values of variables in it."""
    ours, theirs = pty.openpty()
    program = LINES + FAILURES
    with subprocess.Popen([sys.executable, "-c", program], stderr=theirs) as process:
        os.close(theirs)
        text = b""
        while chunk := _read(ours):
            text += chunk
    os.close(ours)
    assert process.returncode == 1
    shown = text.decode()
    assert "\x1b[" in shown
    assert "shown" in shown
    assert "tenants/acme/jobs/1" in shown
    assert "in fail\r\n" in shown
    assert SECRET not in shown


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # a terminal whose other side is closed
        return b""


@pytest.fixture
def line():
    """Return a function that runs an event through the processors that every line goes through."""

    def processed(**event: object) -> dict[str, object]:
        event = logs.of_call(None, "info", dict(event))
        return dict(logs.failure(None, "info", logs.without_secrets(None, "info", event)))

    return processed


def test_a_line_within_a_call_says_which(line):
    """Its trace and span, tenant, job and decision; what the line says itself stays."""
    span = SpanContext(trace_id=1, span_id=2, is_remote=False)
    call = a_call(job="tenants/acme/jobs/1", tenant="acme", span=NonRecordingSpan(span))
    token = current.set(call)
    try:
        found = line(event="x")
        assert found == {
            "event": "x",
            "trace_id": "0" * 31 + "1",
            "span_id": "0" * 15 + "2",
            "tenant": "acme",
            "job": "tenants/acme/jobs/1",
            "decision_id": call.id,
        }
        other = line(event="x", job="tenants/globex/jobs/2", tenant="globex")
        assert (other["job"], other["tenant"]) == ("tenants/globex/jobs/2", "globex")
    finally:
        current.reset(token)
    assert line(event="x") == {"event": "x"}


def test_secrets_have_a_belt(line):
    """What stands under a secret's name is removed, and what addresses carry beside the host."""
    found = line(
        event="GET https://user:hunter2@host/path?Signature=hunter2&x=1 failed",
        api_key=SECRET,
        Authorization=f"Bearer {SECRET}",
        access_key_secret=SECRET,
        url=f"oss://bucket/a.mp4?Expires=1&Signature={SECRET}",
        question="what is this?",
        count=3,
    )
    assert SECRET not in json.dumps(found)
    assert found["event"] == "GET https://[removed]@host/path?[removed] failed"
    assert found["url"] == "oss://bucket/a.mp4?[removed]"
    assert (found["question"], found["count"]) == ("what is this?", 3)


def test_members_of_a_group_of_errors_are_told(line):
    """What went wrong in tasks at once stands in one line."""
    error = ExceptionGroup(SECRET, [ValueError(SECRET), KeyError(SECRET)])
    found = line(event="x", exc_info=error)
    assert found["exception.stacktrace"] == "ExceptionGroup\nValueError\nKeyError"
