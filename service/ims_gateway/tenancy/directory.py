"""All tenants and operators that are in force, found by name or by what they are recognized by.

A directory never changes: a reload makes another one. Tenants that nobody uses stay packed, and
those in use are kept open, the ones that were not used for longest being closed first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ims_gateway.identity.principal import Principal
from ims_gateway.quota.prices import PriceList
from ims_gateway.tenancy.filed import Filed
from ims_gateway.tenancy.files import AccountFile, IssuerFile
from ims_gateway.tenancy.index import PLATFORM, Index
from ims_gateway.tenancy.platform import Platform
from ims_gateway.tenancy.tenant import Credentials, KeyEntry, Tenant

# An open tenant is some ten kilobytes, and opening one takes less than a millisecond.
OPEN: Final = 2_000


class Directory:
    """The platform, the tenants on file, and the index of their credentials.

    `opened` are tenants that are open from the start.
    """

    def __init__(
        self,
        platform: Platform,
        filed: Mapping[str, Filed],
        index: Index,
        opened: Iterable[Tenant] = (),
    ) -> None:
        self.platform = platform
        self.filed = filed
        self.index = index
        self._opened = OrderedDict((tenant.name, tenant) for tenant in opened)

    def __len__(self) -> int:
        return len(self.filed)

    def __iter__(self) -> Iterator[str]:
        return iter(self.filed)

    @property
    def accounts(self) -> Mapping[str, AccountFile]:
        """The upstream accounts, by name."""
        return self.platform.accounts

    @property
    def issuers(self) -> Mapping[str, IssuerFile]:
        """The issuers of tokens, by name."""
        return self.platform.issuers

    @property
    def prices(self) -> PriceList:
        """What jobs are taken to cost."""
        return self.platform.prices

    def tenant(self, name: str) -> Tenant | None:
        """Return the tenant of that name."""
        tenant = self._opened.get(name)
        if tenant is not None:
            self._opened.move_to_end(name)
            return tenant
        filed = self.filed.get(name)
        if filed is None:
            return None
        tenant = self._opened[name] = filed.opened(self.platform)
        if len(self._opened) > OPEN:
            self._opened.popitem(last=False)
        return tenant

    def admits(self, name: str, subject: str) -> bool:
        """Say whether a grant of the tenant names the principal of another tenant.

        No tenant is opened for the answer: how long it takes does not tell which tenants exist.
        """
        filed = self.filed.get(name)
        return filed is not None and (subject in filed.guests or self.platform.admits(subject))

    def key(self, key_hash: str) -> KeyEntry | None:
        """Return the entry of the API key with that hash."""
        owner = self.index.keys.get(bytes.fromhex(key_hash))
        keys = self._credentials(owner).keys
        return next((key for key in keys if key.hash == key_hash), None)

    def spiffe_id(self, spiffe_id: str) -> Principal | None:
        """Return whose SPIFFE id it is."""
        owner = self.index.spiffe_ids.get(spiffe_id)
        return self._credentials(owner).spiffe_ids.get(spiffe_id)

    def token(self, issuer: str, claims: Mapping[str, Any]) -> Principal | None:
        """Return who is recognized by the verified claims of an issuer's token.

        None where nobody is, and also where several are: nobody can say who of them calls.
        """
        found = {
            token.principal
            for owner, wanted in self.index.by_claims(issuer, claims)
            for token in self._credentials(owner).tokens
            if (token.issuer, token.claims) == (issuer, wanted)
        }
        return found.pop() if len(found) == 1 else None

    def open_tenants(self) -> list[Tenant]:
        """Return the tenants that are open, least recently used first."""
        return list(self._opened.values())

    def _credentials(self, owner: str | None) -> Credentials:
        if owner is None:
            return Credentials()
        if owner == PLATFORM:
            return self.platform.operators
        tenant = self.tenant(owner)
        return tenant.credentials if tenant else Credentials()
