"""What a caller may submit, in the words of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ims_gateway.policy.grant import Grant
from ims_gateway.policy.permissions import Permission
from ims_gateway.quota.prices import ANY, PriceList
from imsgateway.v1.access_service_pb2 import ListAlgorithmsResponse

_EFFECTS: Final = {
    "allow": ListAlgorithmsResponse.Rule.EFFECT_ALLOW,
    "deny": ListAlgorithmsResponse.Rule.EFFECT_DENY,
}


def permissions_message(
    permissions: Sequence[Permission], price_list: PriceList
) -> ListAlgorithmsResponse:
    """Return all algorithms, and each rule once however many algorithms it is about."""
    grants = {grant.rule: grant for one in permissions for grant in one.grants}
    return ListAlgorithmsResponse(
        algorithms=[
            ListAlgorithmsResponse.Algorithm(
                algorithm=one.algorithm,
                function_name=one.function_name,
                allowed=one.allowed,
                rules=[grant.rule for grant in one.grants],
                prices=_prices(price_list, one.algorithm),
            )
            for one in permissions
        ],
        rules=map(_rule, grants.values()),
    )


def _prices(price_list: PriceList, algorithm: str) -> list[ListAlgorithmsResponse.Price]:
    return [
        ListAlgorithmsResponse.Price(
            model="" if model == ANY else model,
            currency=price_list.currency,
            flat_micros=price.flat,
            micros_per_minute=price.per_minute,
        )
        for model, price in price_list.of(algorithm).items()
    ]


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
