"""The request of a submit.

Decides its request_id: without one, a repeated call would be a second, paid job.
"""

import uuid

from imsgateway.v1.job_pb2 import Job
from imsgateway.v1.job_service_pb2 import SubmitJobRequest


def submit_request(job: Job, *, request_id: str | None, parent: str) -> SubmitJobRequest:
    """Return the request of a submit; without a request_id it gets a new UUID."""
    return SubmitJobRequest(parent=parent, job=job, request_id=request_id or str(uuid.uuid4()))


def validate_request(job: Job, *, request_id: str | None, parent: str) -> SubmitJobRequest:
    """Return the request that checks a submit without making it."""
    return SubmitJobRequest(parent=parent, job=job, request_id=request_id or "", validate_only=True)
