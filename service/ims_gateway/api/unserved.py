"""Services of the contract that this version does not serve: every call ends UNIMPLEMENTED."""

from __future__ import annotations

from typing import Any, NoReturn

import grpc

from ims_gateway.errors import NotImplementedYet
from imsgateway.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    quota_service_pb2,
    quota_service_pb2_grpc,
)

Context = grpc.aio.ServicerContext[Any, Any]


class QuotaService(quota_service_pb2_grpc.QuotaServiceServicer):
    """Usage of limits."""

    async def GetUsage(
        self, request: quota_service_pb2.GetUsageRequest, context: Context
    ) -> NoReturn:
        """Refuse."""
        raise NotImplementedYet


class AdminService(admin_service_pb2_grpc.AdminServiceServicer):
    """The platform's side."""

    async def ListTenants(
        self, request: admin_service_pb2.ListTenantsRequest, context: Context
    ) -> NoReturn:
        """Refuse."""
        raise NotImplementedYet

    async def ListDecisions(
        self, request: admin_service_pb2.ListDecisionsRequest, context: Context
    ) -> NoReturn:
        """Refuse."""
        raise NotImplementedYet

    async def ResolveJob(
        self, request: admin_service_pb2.ResolveJobRequest, context: Context
    ) -> NoReturn:
        """Refuse."""
        raise NotImplementedYet

    async def Reload(self, request: admin_service_pb2.ReloadRequest, context: Context) -> NoReturn:
        """Refuse."""
        raise NotImplementedYet
