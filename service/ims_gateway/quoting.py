"""What a job is taken to cost by the price list, and whether its caller has said enough to tell.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ims_gateway.algorithms.translation import ceilings
from ims_gateway.errors import Violation
from ims_gateway.quota.limits import BudgetLimit, Demand, Limit
from ims_gateway.quota.prices import PriceList
from imsgateway.v1 import job_pb2

FIELD: Final = "job.media_duration"


def demand_of(tenant: str, subject: str, job: job_pb2.Job, prices: PriceList) -> Demand:
    """Return what the job asks of its tenant's limits; `subject` is the caller's, of the policy."""
    algorithm = job.WhichOneof("algorithm") or ""
    duration = job.media_duration.ToMicroseconds() if job.HasField("media_duration") else None
    cost = prices.cost(algorithm, ceilings(job).model, duration) if algorithm else 0
    return Demand(tenant, subject.partition("/")[2], algorithm, cost)


def missing_duration(
    job: job_pb2.Job, demand: Demand, limits: Sequence[Limit], prices: PriceList
) -> tuple[Violation, ...]:
    """Find that the job's cost cannot be told, and that a budget has to know it.

    A budget on trial refuses nothing, so there it counts as free.
    """
    if job.HasField("media_duration") or not demand.algorithm:
        return ()
    price = prices.price(demand.algorithm, ceilings(job).model)
    if price is None or not price.per_minute:
        return ()
    for limit in limits:
        if isinstance(limit, BudgetLimit) and limit.covers(demand) and not limit.shadow:
            reason = f"is required: the price is by the minute, and budget {limit.id} applies"
            return (Violation(FIELD, "media_duration.required", reason),)
    return ()
