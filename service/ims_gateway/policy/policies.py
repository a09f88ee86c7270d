"""The policies of tenants in use, each built when it is first asked.

A policy is known by its tenant and version, so one that a reload did not change stays. Those that
were not asked for longest are dropped first. Decides nothing itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from ims_gateway.errors import StoreUnavailable
from ims_gateway.policy.enforcer import PolicyError, TenantPolicy
from ims_gateway.policy.grant import Grant
from ims_gateway.tenancy.tenant import Tenant

BUILT: Final = 2_000


class Policies:
    """Builds and keeps policies."""

    def __init__(self) -> None:
        self._built: OrderedDict[tuple[str, str, bool], TenantPolicy] = OrderedDict()

    def of(self, tenant: Tenant) -> TenantPolicy:
        """Return the policy in force. Raises StoreUnavailable where it cannot be evaluated."""
        return self._policy(tenant, tenant.grants, shadow=False)

    def on_trial(self, tenant: Tenant) -> TenantPolicy | None:
        """Return the policy on trial, None where there is none. Raises StoreUnavailable."""
        grants = tenant.shadow_grants
        return None if grants is None else self._policy(tenant, grants, shadow=True)

    def _policy(self, tenant: Tenant, grants: Sequence[Grant], *, shadow: bool) -> TenantPolicy:
        key = (tenant.name, tenant.version, shadow)
        policy = self._built.get(key)
        if policy is None:
            policy = self._built[key] = build(tenant, grants)
            if len(self._built) > BUILT:
                self._built.popitem(last=False)
        else:
            self._built.move_to_end(key)
        return policy


def build(tenant: Tenant, grants: Sequence[Grant]) -> TenantPolicy:
    """Build the enforcer of one tenant. Raises StoreUnavailable: the call stays unanswered."""
    try:
        return TenantPolicy(tenant.version, grants, tenant.roles)
    except PolicyError as error:
        raise StoreUnavailable(f"the tenant's policy cannot be evaluated: {error}") from error
