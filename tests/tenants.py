"""Directories of tenants that stand in no file."""

from collections.abc import Iterable

from ims_gateway.tenancy.directory import Directory
from ims_gateway.tenancy.index import Index, entries_of
from ims_gateway.tenancy.platform import Platform
from ims_gateway.tenancy.tenant import Credentials, Tenant


def a_tenant(name="acme", **changes) -> Tenant:
    """Return a tenant that nobody can call and nothing is allowed in, with changes."""
    members = {
        "version": "v1",
        "account": "main",
        "region": "cn-shanghai",
        "default_output": "",
        "credentials": Credentials(),
        "roles": {},
        "grants": (),
        "limits": (),
        **changes,
    }
    return Tenant(name, **members)


def directory_of(tenants: Iterable[Tenant], platform: Platform | None = None) -> Directory:
    """Return a directory of the tenants, which are all open."""
    index = Index()
    tenants = [*tenants]
    for tenant in tenants:
        index.add(tenant.name, entries_of(tenant.credentials))
    return Directory(platform or Platform(), {}, index, tenants)
