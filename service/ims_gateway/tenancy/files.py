"""The shape of the configuration files.

    accounts.yaml        upstream accounts
    issuers.yaml         who issues tokens that are believed (optional)
    operators.yaml       operators of the platform (optional)
    grants.yaml          roles and grants that every tenant has (optional)
    prices.yaml          what jobs are taken to cost (optional, but for budgets)
    tenants/<name>.yaml  one tenant each

Where there is a folder platform/, all but the tenants' files stand in it.

What it decides: whether a file is well formed. It knows no environment and keeps no state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from ims_gateway.tenancy.credentials_file import CredentialsFile, EnvironmentKey
from ims_gateway.tenancy.grant_file import GrantFile, Roles
from ims_gateway.tenancy.limits_file import LimitFiles, names_principals
from ims_gateway.tenancy.principal_file import PrincipalFile, unique_principals
from ims_gateway.tenancy.shape import File, Name, unique

Folder = Annotated[
    str, StringConstraints(pattern=r"^oss://[a-z0-9][a-z0-9-]{1,61}[a-z0-9](/[^/{}%?#\\]+)*$")
]
# Only what is verified with a public key: whoever verifies with a shared one could also sign, and
# "none" signs nothing.
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("not an IANA time zone") from error
    return name


class TenantFile(File):
    """One tenant.

    `shadow_grants` are on trial: what they would decide in the place of `grants` is counted and
    recorded, and has no effect.
    """

    name: Name
    account: Name
    weight: Annotated[int, Field(ge=1, le=100)] = 1
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    default_output: Folder | None = None
    principals: Annotated[tuple[PrincipalFile, ...], Field(min_length=1)]
    roles: Roles = Field(default_factory=dict)
    grants: Annotated[tuple[GrantFile, ...], Field(min_length=1)]
    shadow_grants: Annotated[tuple[GrantFile, ...], Field(min_length=1)] | None = None
    limits: LimitFiles = ()

    @model_validator(mode="after")
    def _ids_are_unique(self) -> TenantFile:
        unique("limit", [limit.id for limit in self.limits])
        unique_principals("principal", self.principals)
        names_principals(self.limits, {principal.name for principal in self.principals})
        return self


class AccountFile(File):
    """One upstream account."""

    name: Name
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]+(-[a-z0-9]+)+$")]
    endpoint: str | None = None
    scheme: Literal["https", "http"] = "https"
    ca_file: Path | None = None
    max_in_flight: Annotated[int, Field(ge=1, le=10_000)] = 64
    calls_per_second: Annotated[float, Field(gt=0, le=100_000)] | None = None
    polls_per_second: Annotated[float, Field(gt=0, le=1_000)] = 10.0
    resend_unknown: bool = False
    credentials: CredentialsFile = EnvironmentKey()


class AccountsFile(File):
    """All upstream accounts."""

    accounts: Annotated[tuple[AccountFile, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_unique(self) -> AccountsFile:
        unique("account", [account.name for account in self.accounts])
        return self


class IssuerFile(File):
    """One issuer of tokens (OpenID Connect), and where its public keys (JWKS) are.

    `audiences` has no default: a token that was made for somebody else must not be of use here.
    """

    name: Name
    issuer: Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    audiences: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1)], ...],
        Field(min_length=1, max_length=16),
    ]
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256",)
    jwks_url: str | None = None
    jwks_file: Path | None = None
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> IssuerFile:
        if (self.jwks_url is None) == (self.jwks_file is None):
            raise ValueError("needs either jwks_url or jwks_file")
        if self.jwks_url is not None:
            _check_keys_url(self.jwks_url)
        elif self.ca_file is not None:
            raise ValueError("ca_file goes with jwks_url")
        return self


def _check_keys_url(url: str) -> None:
    """Raise ValueError where somebody on the way could put keys of their own in."""
    parts = urlsplit(url)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or parts.scheme not in (("https", "http") if local else ("https",)):
        raise ValueError("jwks_url must begin with https://")


class IssuersFile(File):
    """All issuers."""

    issuers: Annotated[tuple[IssuerFile, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _are_unique(self) -> IssuersFile:
        unique("issuer", [issuer.name for issuer in self.issuers])
        unique("issuer", [issuer.issuer for issuer in self.issuers])
        return self
