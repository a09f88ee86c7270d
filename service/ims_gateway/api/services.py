"""Our services, each with its name and what answers for it."""

from __future__ import annotations

from typing import Final

import grpc

from ims_gateway.api.access_service import AccessService
from ims_gateway.api.admin_service import AdminService
from ims_gateway.api.job_service import JobService
from ims_gateway.api.quota_service import QuotaService
from imsgateway.v1 import (
    access_service_pb2_grpc,
    admin_service_pb2_grpc,
    job_service_pb2_grpc,
    quota_service_pb2_grpc,
)

SERVICES: Final = (
    "imsgateway.v1.JobService",
    "imsgateway.v1.AccessService",
    "imsgateway.v1.QuotaService",
    "imsgateway.v1.AdminService",
)


def add_services(
    server: grpc.aio.Server,
    job: JobService,
    access: AccessService,
    quota: QuotaService,
    admin: AdminService,
) -> None:
    """Let a server answer for all of them."""
    job_service_pb2_grpc.add_JobServiceServicer_to_server(job, server)
    access_service_pb2_grpc.add_AccessServiceServicer_to_server(access, server)
    quota_service_pb2_grpc.add_QuotaServiceServicer_to_server(quota, server)
    admin_service_pb2_grpc.add_AdminServiceServicer_to_server(admin, server)
