"""imsgateway.v1.AdminService: from messages to use cases and back. It decides nothing.

Whether the caller is an operator is asked first in every method, before a word of the request.
"""

from __future__ import annotations

from typing import Any, NoReturn

import grpc

from ims_gateway.api.job_message import job_message
from ims_gateway.errors import NotImplementedYet
from ims_gateway.policy.authorization import Authorization
from ims_gateway.resolution import Resolution
from ims_gateway.telemetry.call import Call, current
from ims_gateway.validation import Validation
from imsgateway.v1 import admin_service_pb2 as pb
from imsgateway.v1 import admin_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class AdminService(admin_service_pb2_grpc.AdminServiceServicer):
    """The platform's side: for operators only."""

    def __init__(
        self, resolution: Resolution, authorization: Authorization, validation: Validation
    ) -> None:
        self._resolution = resolution
        self._authorization = authorization
        self._validation = validation

    async def ResolveJob(self, request: pb.ResolveJobRequest, context: Context) -> Any:
        """Settle a job whose outcome nobody knew."""
        call = self._operators_call()
        self._validation.check(request)
        if request.WhichOneof("resolution") == "upstream_job_id":
            record = await self._resolution.adopt(call, request.name, request.upstream_job_id)
        else:
            record = await self._resolution.reject(call, request.name)
        return pb.ResolveJobResponse(job=job_message(record))

    async def ListTenants(self, request: pb.ListTenantsRequest, context: Context) -> NoReturn:
        """Refuse: not served by this version."""
        self._operators_call()
        raise NotImplementedYet

    async def ListDecisions(self, request: pb.ListDecisionsRequest, context: Context) -> NoReturn:
        """Refuse: not served by this version."""
        self._operators_call()
        raise NotImplementedYet

    async def Reload(self, request: pb.ReloadRequest, context: Context) -> NoReturn:
        """Refuse: not served by this version."""
        self._operators_call()
        raise NotImplementedYet

    def _operators_call(self) -> Call:
        """Return the call, if an operator makes it."""
        call = current.get()
        self._authorization.operator(call.caller, call.id)
        return call
