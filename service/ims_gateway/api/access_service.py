"""imsgateway.v1.AccessService: from messages to use cases and back. It decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from ims_gateway.api.permission_message import permissions_message
from ims_gateway.policy.authorization import Authorization
from ims_gateway.quota.prices import PriceList
from ims_gateway.submission import Submission
from ims_gateway.telemetry.call import current
from imsgateway.v1 import access_service_pb2 as pb
from imsgateway.v1 import access_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class AccessService(access_service_pb2_grpc.AccessServiceServicer):
    """Says who the caller is and what it may do."""

    def __init__(
        self,
        submission: Submission,
        authorization: Authorization,
        prices: Callable[[], PriceList],
    ) -> None:
        self._submission = submission
        self._authorization = authorization
        self._prices = prices

    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Context) -> Any:
        """Return the caller."""
        caller = current.get().caller
        tenant = "" if caller.operator else f"tenants/{caller.tenant}"
        answer = pb.WhoAmIResponse(
            principal=caller.name, tenant=tenant, roles=caller.roles, credential=caller.credential
        )
        if caller.expires is not None:
            answer.expire_time.FromMicroseconds(round(caller.expires * 1e6))
        return answer

    async def ExplainAccess(self, request: pb.ExplainAccessRequest, context: Context) -> Any:
        """Decide about a job that is not sent."""
        call = current.get()
        tenant = self._authorization.tenant(call, request.parent)
        decision = self._submission.explain(call, tenant, request)
        return pb.ExplainAccessResponse(decision=decision)

    async def ListAlgorithms(self, request: pb.ListAlgorithmsRequest, context: Context) -> Any:
        """Say what the caller may submit, and by which rules."""
        call = current.get()
        tenant = self._authorization.tenant(call, request.parent)
        permissions = self._authorization.permissions(call.caller, tenant)
        return permissions_message(permissions, self._prices())
