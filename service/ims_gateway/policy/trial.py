"""Asks the policy on trial what it would have decided, beside the one in force.

Decides only whether the two differ. Nothing of it reaches the call: a policy on trial that cannot
be asked is counted, logged once, and left alone until the tenant's files change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from ims_gateway.policy.decision import Ask, Decision
from ims_gateway.policy.policies import Policies
from ims_gateway.tenancy.tenant import Tenant

ALLOWS: Final = "allows"
DENIES: Final = "denies"
FAILED: Final = "failed"
OUTCOMES: Final = (ALLOWS, DENIES, FAILED)

log = structlog.get_logger()


class Trial:
    """Compares answers. `count` is told of each difference: what the policy on trial does."""

    def __init__(self, policies: Policies, count: Callable[[str], None]) -> None:
        self._policies = policies
        self._count = count
        # Tenant -> the version of its policy on trial that failed.
        self._failed: dict[str, str] = {}

    def differing(self, tenant: Tenant, ask: Ask, live: Decision) -> Decision | None:
        """Return the answer on trial where it is another than the live one. Never raises."""
        if tenant.shadow_grants is None:
            return None
        if self._failed.get(tenant.name) == tenant.version:
            self._count(FAILED)
            return None
        try:
            return self._differing(tenant, ask, live)
        except Exception:
            self._count(FAILED)
            self._failed[tenant.name] = tenant.version
            log.exception("policy on trial cannot be asked", tenant=tenant.name)
            return None

    def _differing(self, tenant: Tenant, ask: Ask, live: Decision) -> Decision | None:
        policy = self._policies.on_trial(tenant)
        answer = policy.decide(ask) if policy else live
        if answer.allowed == live.allowed:
            return None
        self._count(ALLOWS if answer.allowed else DENIES)
        return answer
