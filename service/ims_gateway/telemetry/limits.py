"""Says what is worth saying about an admission's limits: budgets that run out, trials that fail.

An alert is said by the one admission that reaches it. What a limit on trial would have refused
stands in the call's record: a line of the log for each would be a flood.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from ims_gateway.quota.charges import LimitState
from ims_gateway.telemetry.call import Call

log = structlog.get_logger()


def report(call: Call, limits: Sequence[LimitState]) -> None:
    """Note the limits that a job was admitted by."""
    call.limits = tuple(limits)
    for limit in limits:
        if limit.alert is not None:
            log.warning(
                "budget alert",
                # Of a guest it is the tenant whose budget it is, and not the guest's own.
                tenant=call.tenant or call.caller.tenant,
                limit=limit.limit_id,
                percent=limit.alert,
                used_micros=limit.used,
                limit_micros=limit.value,
                job=call.job,
                **dict(limit.dimensions),
            )
