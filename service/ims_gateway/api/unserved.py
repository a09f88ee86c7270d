"""Services of the contract that this version does not serve: every call ends UNIMPLEMENTED.

Who may make a call is checked all the same: a caller without the right learns nothing about
versions.
"""

from __future__ import annotations

from typing import Any, NoReturn

import grpc

from ims_gateway.errors import NotImplementedYet
from ims_gateway.policy.authorization import Authorization
from ims_gateway.telemetry.call import current
from imsgateway.v1 import quota_service_pb2, quota_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class QuotaService(quota_service_pb2_grpc.QuotaServiceServicer):
    """Usage of limits."""

    def __init__(self, authorization: Authorization) -> None:
        self._authorization = authorization

    async def GetUsage(
        self, request: quota_service_pb2.GetUsageRequest, context: Context
    ) -> NoReturn:
        """Refuse."""
        call = current.get()
        self._authorization.tenant(call.caller, request.parent, call.id)
        raise NotImplementedYet
