"""Decides whether a request is well formed: the rules of the contract, and those of the tenant.

The contract states its rules in the protos; here is what needs to know the tenant. All violations
of a request are found at once.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from protovalidate import Validator

from ims_gateway.errors import InvalidRequest, Violation
from ims_gateway.policy.objects import ObjectAddressError, touched
from ims_gateway.tenancy.tenant import Tenant
from ims_gateway.violations import field_path
from imsgateway.v1 import (
    access_service_pb2,
    admin_service_pb2,
    job_pb2,
    job_service_pb2,
    quota_service_pb2,
)

SERVICES: Final = (
    job_service_pb2.DESCRIPTOR,
    access_service_pb2.DESCRIPTOR,
    quota_service_pb2.DESCRIPTOR,
    admin_service_pb2.DESCRIPTOR,
)


class Validation:
    """Checks requests.

    The rules of every request are compiled when it is made, which takes a tenth of a second that no
    caller should wait for.
    """

    def __init__(self) -> None:
        self._validator = Validator()
        for file in SERVICES:
            for service in file.services_by_name.values():
                for method in service.methods:
                    self._validator.collect_violations(GetMessageClass(method.input_type)())

    def check(self, request: Message) -> None:
        """Raise InvalidRequest with every rule of the contract that the request breaks."""
        if violations := self._by_contract(request):
            raise InvalidRequest(violations)

    def check_job(self, request: Message, job: job_pb2.Job, tenant: Tenant) -> None:
        """Check a request that carries a job of the tenant.

        Raises InvalidRequest with every violation of the contract and of the tenant's region.
        """
        by_contract = self._by_contract(request)
        known = {violation.path for violation in by_contract}
        by_tenant = (fault for fault in _by_tenant(job, tenant) if fault.path not in known)
        if violations := (*by_contract, *by_tenant):
            raise InvalidRequest(violations)

    def _by_contract(self, request: Message) -> tuple[Violation, ...]:
        return tuple(
            Violation(field_path(found), found.proto.rule_id, found.proto.message)
            for found in self._validator.collect_violations(request)
        )


def _by_tenant(job: job_pb2.Job, tenant: Tenant) -> tuple[Violation, ...]:
    """Find an output that nothing names, and addresses outside of the tenant's region.

    An address in another region would be a paid job that ends in an error (wire facts).
    """
    algorithm = job.WhichOneof("algorithm")
    if algorithm is None:
        return ()
    faults = []
    if not getattr(job, algorithm).HasField("output"):
        reason = "is required: the tenant has no default output"
        faults.append(Violation(f"job.{algorithm}.output", "output.required", reason))
    try:
        objects = touched(job)
    except ObjectAddressError as error:
        encoding = "must be percent-encoded UTF-8"
        return (*faults, Violation(error.field_path, "oss_object.encoding", encoding))
    faults += (
        Violation(found.field_path, "oss_object.region", f"must lie in region {tenant.region}")
        for found in objects
        if found.region not in ("", tenant.region)
    )
    return tuple(faults)
