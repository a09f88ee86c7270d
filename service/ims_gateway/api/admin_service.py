"""imsgateway.v1.AdminService: from messages to use cases and back. It decides nothing.

Whether the caller is an operator is asked first in every method, before a word of the request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc

from ims_gateway.api.decision_record import record_message
from ims_gateway.api.job_message import job_message
from ims_gateway.jobs.decisions import Wanted
from ims_gateway.oversight import Oversight
from ims_gateway.policy.authorization import Authorization
from ims_gateway.resolution import Resolution
from ims_gateway.telemetry.call import Call, current
from ims_gateway.tenancy.reading import Fault
from ims_gateway.validation import Validation
from imsgateway.v1 import admin_service_pb2 as pb
from imsgateway.v1 import admin_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class AdminService(admin_service_pb2_grpc.AdminServiceServicer):
    """The platform's side: for operators only."""

    def __init__(
        self,
        resolution: Resolution,
        oversight: Oversight,
        authorization: Authorization,
        validation: Validation,
    ) -> None:
        self._resolution = resolution
        self._oversight = oversight
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

    async def ListTenants(self, request: pb.ListTenantsRequest, context: Context) -> Any:
        """Return one page of the tenants in force."""
        self._operators_call()
        self._validation.check(request)
        entries, token = self._oversight.tenants(request.page_size, request.page_token)
        tenants = [
            pb.ListTenantsResponse.Tenant(
                name=f"tenants/{entry.name}",
                version=entry.version,
                account=entry.account,
                faults=_faults(entry.faults),
            )
            for entry in entries
        ]
        return pb.ListTenantsResponse(tenants=tenants, next_page_token=token)

    async def ListDecisions(self, request: pb.ListDecisionsRequest, context: Context) -> Any:
        """Return one page of the latest decisions."""
        self._operators_call()
        self._validation.check(request)
        records, token = await self._oversight.decisions(
            _wanted(request), request.page_size, request.page_token
        )
        return pb.ListDecisionsResponse(
            decisions=[record_message(record) for record in records], next_page_token=token
        )

    async def Reload(self, request: pb.ReloadRequest, context: Context) -> Any:
        """Take the configuration files that have changed."""
        self._operators_call()
        faults, tenants = await self._oversight.reload()
        return pb.ReloadResponse(faults=_faults(faults), tenants=tenants)

    def _operators_call(self) -> Call:
        """Return the call, if an operator makes it."""
        call = current.get()
        self._authorization.operator(call.caller)
        return call


def _wanted(request: pb.ListDecisionsRequest) -> Wanted:
    return Wanted(
        decision_id=request.decision_id or None,
        tenant=request.parent.removeprefix("tenants/") or None,
        principal=request.principal or None,
        code=request.code or None,
        reason=request.reason or None,
        differs=1 if request.shadow_differs else None,
    )


def _faults(faults: Iterable[Fault]) -> list[pb.ReloadResponse.Fault]:
    return [
        pb.ReloadResponse.Fault(file=fault.file, line=fault.line, message=fault.message)
        for fault in faults
    ]
