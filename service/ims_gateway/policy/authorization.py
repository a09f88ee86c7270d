"""Asks the tenant's policy about a call, and says no in the caller's words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ims_gateway.errors import NotAuthenticated, PolicyDenied
from ims_gateway.identity.principal import Principal
from ims_gateway.policy.decision import Ask, Decision, Dimension
from ims_gateway.policy.matching import ABSENT
from ims_gateway.policy.permissions import Permission, permissions
from ims_gateway.policy.policies import Policies
from ims_gateway.policy.questions import to_follow, to_submit
from ims_gateway.policy.trial import Trial
from ims_gateway.telemetry.call import Call
from ims_gateway.tenancy.directory import Directory
from ims_gateway.tenancy.tenant import Tenant
from imsgateway.v1 import job_pb2


class Authorization:
    """Decides for the tenants of the directory in force, which `directory` returns.

    `count_difference` is told when a policy on trial answers otherwise. It keeps no record of what
    it decided.
    """

    def __init__(
        self,
        directory: Callable[[], Directory],
        count_difference: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._directory = directory
        self._policies = Policies()
        self._trial = Trial(self._policies, count_difference)

    def tenant(self, call: Call, parent: str) -> Tenant:
        """Return the tenant for which the caller acts: its own, or one with a grant that names it.

        The call is on record as that tenant's from then on.
        `parent` is tenants/{tenant} or empty. Raises PolicyDenied for every other tenant, whether
        it exists or not, and for an operator, who belongs to none.
        """
        principal = call.caller
        if principal.operator:
            raise PolicyDenied(
                f"{principal.name} is an operator and acts for no tenant",
                dimension=Dimension.SUBJECT.name,
            )
        tenant = self._admitting(principal, parent or f"tenants/{principal.tenant}")
        if tenant is None:
            raise PolicyDenied(
                f"{principal.name} may not act for another tenant",
                dimension=Dimension.SUBJECT.name,
            )
        call.tenant = tenant.name
        return tenant

    def own_tenant(self, call: Call, parent: str) -> Tenant:
        """Return the caller's own tenant: a grant in another one's file does not open its books.

        Raises PolicyDenied for every other tenant, and for an operator.
        """
        tenant = self.tenant(call, parent)
        if tenant.name != call.caller.tenant:
            raise PolicyDenied(
                f"{call.caller.name} may not see the use of another tenant",
                dimension=Dimension.SUBJECT.name,
            )
        return tenant

    def tenant_of(self, call: Call, job: str) -> Tenant:
        """Return the tenant in which the caller may look for the job of that name.

        It is the job's where the caller may act for it, and else its own, in which there is no such
        job. Raises PolicyDenied for an operator.
        """
        parent = job.rpartition("/jobs/")[0]
        principal = call.caller
        admits = not principal.operator and self._admitting(principal, parent) is not None
        return self.tenant(call, parent if admits else "")

    def _admitting(self, principal: Principal, resource: str) -> Tenant | None:
        """Return the tenant if it is the caller's, or one of its grants names the caller."""
        directory = self._directory()
        if resource == f"tenants/{principal.tenant}":
            tenant = directory.tenant(principal.tenant)
            if tenant is None:
                raise NotAuthenticated
            return tenant
        kind, _, name = resource.partition("/")
        admits = kind == "tenants" and directory.admits(name, principal.acting_in(name))
        return directory.tenant(name) if admits else None

    def operator(self, principal: Principal) -> None:
        """Raise PolicyDenied for every caller that is not an operator of the platform."""
        if not principal.operator:
            raise PolicyDenied(
                f"{principal.name} is not an operator of the platform",
                dimension=Dimension.SUBJECT.name,
            )

    def submit(self, principal: Principal, tenant: Tenant, job: job_pb2.Job) -> Decision:
        """Decide about a job and every object it reads or writes."""
        return self._decide(tenant, to_submit(principal.acting_in(tenant.name), job))

    def explain(self, principal: Principal, tenant: Tenant, job: job_pb2.Job) -> Decision:
        """Decide as `submit` does about a job that is not sent, and say what comes closest."""
        ask = to_submit(principal.acting_in(tenant.name), job)
        return self._policies.of(tenant).explain(ask)

    def follow(
        self, principal: Principal, tenant: Tenant, action: str, algorithm: str = ABSENT
    ) -> Decision:
        """Decide about get, list, watch or cancel, which touch no object of the caller's."""
        subject = principal.acting_in(tenant.name)
        return self._decide(tenant, to_follow(subject, tenant.resource, action, algorithm))

    def permissions(self, principal: Principal, tenant: Tenant) -> tuple[Permission, ...]:
        """Return what the caller may submit: a permission for each algorithm."""
        return permissions(self._policies.of(tenant).grants_of(principal.acting_in(tenant.name)))

    def _decide(self, tenant: Tenant, ask: Ask) -> Decision:
        decision = self._policies.of(tenant).decide(ask)
        shadow = self._trial.differing(tenant, ask, decision)
        return decision if shadow is None else replace(decision, shadow=shadow)


def denial(principal: Principal, decision: Decision) -> PolicyDenied:
    """Return the refusal that a negative decision leads to."""
    dimension = decision.failed or Dimension.SUBJECT
    refused = [answer for answer in decision.objects if not answer.allowed]
    what = {
        Dimension.READ: f"may not read {refused[0].object}",
        Dimension.WRITE: f"may not write {refused[0].object}",
        Dimension.DENY: f"is denied by {refused[0].rule}",
    }.get(dimension, f"has no grant that fits: {dimension.name.lower()}")
    return PolicyDenied(f"{principal.name} {what}", dimension=dimension.name)
