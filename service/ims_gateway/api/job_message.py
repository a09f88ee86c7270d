"""The ledger's record as the contract's Job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from ims_gateway.algorithms.results import apply, progress
from ims_gateway.jobs.record import JobRecord
from ims_gateway.jobs.states import State
from ims_gateway.preview import timestamp
from imsgateway.v1 import job_pb2

# A job that turned out to be taken after all keeps, in the ledger, why that was not known.
WITH_FAILURE: Final = (State.FAILED, State.REJECTED, State.SUBMIT_UNKNOWN)


def job_message(
    record: JobRecord,
    *,
    result: bool = True,
    fresh_reply: Mapping[str, Any] | None = None,
    overdue: bool = False,
) -> job_pb2.Job:
    """Return the job with its state and, where it has succeeded, its typed result.

    `fresh_reply` is a reply of the service that was just asked for; only its presigned addresses
    are shown, since none are stored.
    """
    job = job_pb2.Job.FromString(record.spec)
    job.name = record.name
    job.state = cast("job_pb2.Job.State", int(record.state))
    job.request_id = record.request_id
    job.principal = record.principal
    job.upstream_job_id = record.upstream_job_id
    job.create_time.CopyFrom(timestamp(record.create_time))
    job.update_time.CopyFrom(timestamp(record.update_time))
    job.overdue = overdue
    if record.end_time is not None:
        job.end_time.CopyFrom(timestamp(record.end_time))
    if record.failure_code and record.state in WITH_FAILURE:
        job.failure.code = record.failure_code
        job.failure.message = record.failure_message
        job.failure.upstream_request_id = record.upstream_request_id
    if result and record.state is State.SUCCEEDED:
        reply = fresh_reply if fresh_reply is not None else json.loads(record.reply)
        apply(job, progress(reply), with_download_urls=fresh_reply is not None)
    return job
