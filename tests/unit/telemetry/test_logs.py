"""Logs are lines of JSON without what libraries would say about a job."""

import json
import subprocess
import sys

PROGRAM = """
import logging
import structlog
from ims_gateway.telemetry import logs

logs.configure()
for name in ("httpx", "httpcore", "casbin", "casbin.enforcer", "aiohttp.client", "alembic"):
    logging.getLogger(name).info("hunter2")
    logging.getLogger(name).warning("hunter2")
logging.getLogger("somebody").warning("heard")
log = structlog.get_logger()
log.debug("not shown")
log.info("shown", job="tenants/acme/jobs/1")

def fail(secret):
    raise ZeroDivisionError

try:
    fail("hunter2")
except ZeroDivisionError as error:
    log.error("fault", exc_info=error)
"""


def test_logs_are_json_and_hold_no_job_and_no_variables():
    """A URL holds the whole job, a denied question its objects, a frame whatever it likes."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    plain, *lines = done.stderr.splitlines()
    records = [json.loads(line) for line in lines]

    assert plain == "WARNING somebody heard"
    assert [record["event"] for record in records] == ["shown", "fault"]
    assert [record["level"] for record in records] == ["info", "error"]
    assert all(record["timestamp"].endswith("Z") for record in records)
    assert records[1]["exception"].endswith("ZeroDivisionError")
    # The line of source that raised is shown, and the values of its variables are not.
    assert done.stderr.count("hunter2") == 0
    assert done.stdout == ""
