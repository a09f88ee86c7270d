"""Names of spans, attributes and metrics: OpenTelemetry's where it has one, ours otherwise."""

from __future__ import annotations

from typing import Final

RPC_SYSTEM: Final = "rpc.system"
RPC_SERVICE: Final = "rpc.service"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS_CODE: Final = "rpc.grpc.status_code"
RPC_DURATION: Final = "rpc.server.duration"
HTTP_METHOD: Final = "http.request.method"
HTTP_STATUS_CODE: Final = "http.response.status_code"
SERVER_ADDRESS: Final = "server.address"
ERROR_TYPE: Final = "error.type"

TENANT: Final = "imsgateway.tenant"
PRINCIPAL: Final = "imsgateway.principal"
ALGORITHM: Final = "imsgateway.algorithm"
DECISION_ID: Final = "imsgateway.decision_id"
JOB: Final = "imsgateway.job"
REASON: Final = "imsgateway.reason"
RULE: Final = "imsgateway.rule"
SHADOW_DIFFERENCES: Final = "imsgateway.policy.shadow_differences"
SHADOW_OUTCOME: Final = "imsgateway.policy.shadow_outcome"
POLICY_VERSION: Final = "imsgateway.policy_version"
JOB_STATE: Final = "imsgateway.job_state"
QUOTA_OUTCOME: Final = "imsgateway.quota.outcome"
# Of a wait: how many calls went before at its begin, and how long it was thought to last.
WAIT_AHEAD: Final = "imsgateway.wait.ahead"
WAIT_ESTIMATE: Final = "imsgateway.wait.estimate_seconds"
OUTCOME: Final = "imsgateway.outcome"
SINK: Final = "imsgateway.sink"
UPSTREAM_ACTION: Final = "imsgateway.upstream.action"
UPSTREAM_REQUEST_ID: Final = "imsgateway.upstream.request_id"
UPSTREAM_CODE: Final = "imsgateway.upstream.code"

RELOADS: Final = "imsgateway.configuration.reloads"
FAULTS: Final = "imsgateway.configuration.faults"
CERTIFICATE_TIME_LEFT: Final = "imsgateway.certificate.time_left"
WORKER_RESTARTS: Final = "imsgateway.worker.restarts"
DECISIONS_LOST: Final = "imsgateway.decisions.lost"
