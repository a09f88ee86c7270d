"""Python client of IMS Gateway.

Client is for threads, AsyncClient for asyncio; both speak the messages of `imsgateway.v1` and raise
the errors of `ims_gateway_client.errors`. `ims_gateway_client.jobs` answers questions about a job.
"""

from ims_gateway_client.aio import AsyncClient
from ims_gateway_client.channel import TlsOptions
from ims_gateway_client.client import Client
from ims_gateway_client.credentials import token_file
from ims_gateway_client.errors import (
    DeadlineExceeded,
    GatewayError,
    GatewayFault,
    InvalidRequest,
    JobNotFound,
    JobStateConflict,
    LimitExceeded,
    NotAuthenticated,
    NotServed,
    OutcomeUnknown,
    PolicyDenied,
    PreconditionFailed,
    QuotaExceeded,
    QuotaViolation,
    RateExceeded,
    RequestIdReused,
    Unavailable,
    UpstreamRefused,
    Violation,
)
from imsgateway.v1.job_pb2 import Job

__all__ = [
    "AsyncClient",
    "Client",
    "DeadlineExceeded",
    "GatewayError",
    "GatewayFault",
    "InvalidRequest",
    "Job",
    "JobNotFound",
    "JobStateConflict",
    "LimitExceeded",
    "NotAuthenticated",
    "NotServed",
    "OutcomeUnknown",
    "PolicyDenied",
    "PreconditionFailed",
    "QuotaExceeded",
    "QuotaViolation",
    "RateExceeded",
    "RequestIdReused",
    "TlsOptions",
    "Unavailable",
    "UpstreamRefused",
    "Violation",
    "token_file",
]
