"""What a caller may submit, in the words of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ims_gateway.policy.grant import Grant
from ims_gateway.policy.permissions import Permission
from imsgateway.v1.access_service_pb2 import ListAlgorithmsResponse

_EFFECTS: Final = {
    "allow": ListAlgorithmsResponse.Rule.EFFECT_ALLOW,
    "deny": ListAlgorithmsResponse.Rule.EFFECT_DENY,
}


def permissions_message(permissions: Sequence[Permission]) -> ListAlgorithmsResponse:
    """Return all algorithms, and each rule once however many algorithms it is about."""
    grants = {grant.rule: grant for one in permissions for grant in one.grants}
    return ListAlgorithmsResponse(
        algorithms=[
            ListAlgorithmsResponse.Algorithm(
                algorithm=one.algorithm,
                function_name=one.function_name,
                allowed=one.allowed,
                rules=[grant.rule for grant in one.grants],
                prices=prices(one.algorithm),
            )
            for one in permissions
        ],
        rules=map(_rule, grants.values()),
    )


def prices(algorithm: str) -> list[ListAlgorithmsResponse.Price]:  # noqa: ARG001 - no list is kept yet
    """Return what a job of the algorithm is taken to cost; nothing without a price list."""
    return []


def _rule(grant: Grant) -> ListAlgorithmsResponse.Rule:
    low, high = grant.priority or (0, 0)
    return ListAlgorithmsResponse.Rule(
        rule=grant.rule,
        effect=_EFFECTS[grant.effect],
        subject=grant.subject,
        read=grant.read,
        write=grant.write,
        min_priority=low,
        max_priority=high,
        models=grant.models,
        pipelines=grant.pipelines,
        templates=grant.templates,
    )
