"""What a submit would do, in the words of the contract. Pure; nothing here is sent or charged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from google.protobuf import timestamp_pb2

from ims_gateway.policy.decision import Decision
from ims_gateway.quota.charges import LimitState
from ims_gateway.upstream.account import Account
from ims_gateway.upstream.action import SUBMIT
from imsgateway.v1 import annotations_pb2, decision_pb2

ACCESS: Final = {
    "read": annotations_pb2.OBJECT_ACCESS_READ,
    "write": annotations_pb2.OBJECT_ACCESS_WRITE,
}
REDACTED: Final = "[redacted]"


def decision_message(decision: Decision, decision_id: str) -> decision_pb2.Decision:
    """Return the policy's answer as the contract spells it."""
    return decision_pb2.Decision(
        decision_id=decision_id,
        allowed=decision.allowed,
        failed_dimension=_dimension(decision.failed),
        policy_version=decision.policy_version,
        objects=[
            decision_pb2.Decision.ObjectDecision(
                access=ACCESS[answer.access],
                object=answer.object,
                allowed=answer.allowed,
                rule=answer.rule,
                failed_dimension=_dimension(answer.failed),
                nearest_grants=[
                    decision_pb2.Decision.NearGrant(
                        rule=near.rule, failed_dimensions=map(_dimension, near.failed)
                    )
                    for near in answer.nearest
                ],
            )
            for answer in decision.objects
        ],
    )


def quota_effect(limits: Sequence[LimitState]) -> decision_pb2.QuotaEffect:
    """Return what one more job would leave of each limit; none has room where one is below 0."""
    return decision_pb2.QuotaEffect(
        admitted=all(limit.remaining >= 0 or limit.shadow for limit in limits),
        limits=[
            decision_pb2.QuotaEffect.LimitEffect(
                limit_id=limit.limit_id,
                metric=limit.metric,
                limit=limit.value,
                remaining=max(0, limit.remaining),
                reset_time=timestamp(limit.reset_time) if limit.reset_time else None,
                dimensions=dict(limit.dimensions),
                shadow=limit.shadow,
                has_room=limit.remaining >= 0,
            )
            for limit in limits
        ],
    )


def upstream_request(
    account: Account, parameters: Mapping[str, str]
) -> decision_pb2.UpstreamRequest:
    """Return the call that would be made, without credentials, signature and user data."""
    shown = dict(parameters)
    if "UserData" in shown:
        shown["UserData"] = REDACTED
    return decision_pb2.UpstreamRequest(
        account=account.name, endpoint=account.origin, action=SUBMIT, parameters=shown
    )


def timestamp(microseconds: int) -> timestamp_pb2.Timestamp:
    """Return a moment, given in microseconds since the epoch."""
    moment = timestamp_pb2.Timestamp()
    moment.FromMicroseconds(microseconds)
    return moment


def _dimension(failed: int | None) -> decision_pb2.Decision.Dimension:
    return cast("decision_pb2.Decision.Dimension", int(failed or 0))
