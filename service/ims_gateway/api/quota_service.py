"""imsgateway.v1.QuotaService: from messages to use cases and back. It decides nothing."""

from __future__ import annotations

from typing import Any

import grpc

from ims_gateway.consumption import Consumption, Day
from ims_gateway.policy.authorization import Authorization
from ims_gateway.preview import timestamp
from ims_gateway.quota.charges import LimitState
from ims_gateway.telemetry.call import current
from ims_gateway.validation import Validation
from imsgateway.v1 import quota_service_pb2 as pb
from imsgateway.v1 import quota_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class QuotaService(quota_service_pb2_grpc.QuotaServiceServicer):
    """Limits and their use, now and day by day."""

    def __init__(
        self, consumption: Consumption, authorization: Authorization, validation: Validation
    ) -> None:
        self._consumption = consumption
        self._authorization = authorization
        self._validation = validation

    async def GetUsage(self, request: pb.GetUsageRequest, context: Context) -> Any:
        """Return the limits of the caller's tenant."""
        call = current.get()
        self._validation.check(request)
        tenant = self._authorization.own_tenant(call, request.parent)
        limits = await self._consumption.limits(call, tenant)
        return pb.GetUsageResponse(
            limits=[_limit_usage(limit) for limit in limits], currency=self._consumption.currency
        )

    async def ListUsageHistory(self, request: pb.ListUsageHistoryRequest, context: Context) -> Any:
        """Return what the caller's tenant used, day by day."""
        call = current.get()
        self._validation.check(request)
        tenant = self._authorization.own_tenant(call, request.parent)
        days, token = await self._consumption.days(
            call, tenant, page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListUsageHistoryResponse(
            days=[_daily_usage(day) for day in days],
            next_page_token=token,
            currency=self._consumption.currency,
        )


def _limit_usage(limit: LimitState) -> pb.GetUsageResponse.LimitUsage:
    return pb.GetUsageResponse.LimitUsage(
        limit_id=limit.limit_id,
        metric=limit.metric,
        limit=limit.value,
        used=limit.used,
        reset_time=timestamp(limit.reset_time) if limit.reset_time else None,
        dimensions=dict(limit.dimensions),
        shadow=limit.shadow,
    )


def _daily_usage(day: Day) -> pb.ListUsageHistoryResponse.DailyUsage:
    usage = pb.ListUsageHistoryResponse.DailyUsage(date=day.date.isoformat())
    for algorithm, used in day.algorithms.items():
        usage.algorithms.add(algorithm=algorithm, jobs=used.jobs, cost_micros=used.cost)
    return usage
