"""Names of spans and attributes: OpenTelemetry's where it has one, ours otherwise."""

from __future__ import annotations

from typing import Final

RPC_SYSTEM_NAME: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_RESPONSE_STATUS_CODE: Final = "rpc.response.status_code"
HTTP_METHOD: Final = "http.request.method"
HTTP_RESEND_COUNT: Final = "http.request.resend_count"
HTTP_STATUS_CODE: Final = "http.response.status_code"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"

TENANT: Final = "imsgateway.tenant"
PRINCIPAL: Final = "imsgateway.principal"
ALGORITHM: Final = "imsgateway.algorithm"
DECISION_ID: Final = "imsgateway.decision_id"
JOB: Final = "imsgateway.job"
REASON: Final = "imsgateway.reason"
RULE: Final = "imsgateway.rule"
# Which part of a grant did not fit, of a call that was denied.
DIMENSION: Final = "imsgateway.dimension"
SHADOW_OUTCOME: Final = "imsgateway.policy.shadow_outcome"
POLICY_VERSION: Final = "imsgateway.policy_version"
JOB_STATE: Final = "imsgateway.job_state"
RECALLED: Final = "imsgateway.recalled"
ACCOUNT: Final = "imsgateway.account"
# What became of what a job took of the limits, or the limit that had no room.
QUOTA_OUTCOME: Final = "imsgateway.quota.outcome"
QUOTA_METRIC: Final = "imsgateway.quota.metric"
LIMIT_ID: Final = "imsgateway.limit_id"
# Of a wait: how long it was, how many calls went before at its begin, and how long it was thought
# to last then.
WAIT_SECONDS: Final = "imsgateway.wait.seconds"
WAIT_AHEAD: Final = "imsgateway.wait.ahead"
WAIT_ESTIMATE: Final = "imsgateway.wait.estimate_seconds"
OUTCOME: Final = "imsgateway.outcome"
SINK: Final = "imsgateway.sink"
UPSTREAM_ACTION: Final = "imsgateway.upstream.action"
UPSTREAM_REQUEST_ID: Final = "imsgateway.upstream.request_id"
UPSTREAM_CODE: Final = "imsgateway.upstream.code"

# Of metrics alone.
CURRENCY: Final = "imsgateway.currency"
# As the Prometheus port of several workers tells them apart.
WORKER: Final = "worker"
