"""The values that a tenant may have as an attribute of metrics: a bounded set.

Every value is a time series in every metric that has it, here and in the store behind it. The first
tenants that call keep their own; the rest share one.
"""

from __future__ import annotations

from typing import Final

# No tenant is called so: a name begins with a letter or a digit.
OTHER: Final = "_other"
# Of callers that are not known, and of operators.
NOBODY: Final = "_none"


class TenantLabels:
    """Who of the tenants has a label of its own: the `most` that came first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._own: dict[str, None] = {}

    def of(self, tenant: str) -> str:
        """Return the tenant's label; `tenant` is empty where nobody is known."""
        if tenant in self._own:
            return tenant
        if not tenant:
            return NOBODY
        if len(self._own) >= self._most:
            return OTHER
        self._own[tenant] = None
        return tenant

    @property
    def own(self) -> tuple[str, ...]:
        """The tenants that have one."""
        return tuple(self._own)
