"""Makes the intent of a submit: what the ledger is to know of a job before its call goes out."""

from __future__ import annotations

import secrets
import uuid

from ims_gateway.jobs.record import Intent
from ims_gateway.jobs.spec import body_hash, spec_of
from ims_gateway.quota.limits import Demand
from ims_gateway.telemetry.call import Call
from ims_gateway.tenancy.tenant import Tenant
from imsgateway.v1 import job_pb2, job_service_pb2


def intent_of(
    call: Call,
    tenant: Tenant,
    request: job_service_pb2.SubmitJobRequest,
    spec: job_pb2.Job,
    demand: Demand,
    *,
    now: int,
    lease_until: int,
) -> Intent:
    """Return a new job's intent; times in microseconds since the epoch.

    `spec` is the job as it will be sent, `request` as its caller sent it: by that, a repeated call
    is told from another one with the same request id.
    """
    return Intent(
        job_id=f"{now:014x}-{secrets.token_hex(5)}",
        tenant=tenant.name,
        request_id=(request.request_id or str(uuid.uuid4())).lower(),
        body_hash=body_hash(spec_of(request.job)),
        principal=call.caller.acting_in(tenant.name),
        algorithm=call.algorithm,
        account=tenant.account,
        spec=spec.SerializeToString(),
        create_time=now,
        lease_until=lease_until,
        dispatch_time=None,
        decision_id=call.id,
        traceparent=call.traceparent,
        labels=tuple(spec.labels.items()),
        cost=demand.cost,
    )
