"""Where the keys of an account come from: `credentials` of an account in accounts.yaml.

Decides which members each kind has. No secret stands in this file: it names who has one. What a
member that is left out stands for in the environment is decided where the environment is known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from ims_gateway.tenancy.shape import File

LOCAL: Final = ("localhost", "127.0.0.1", "::1")


def safe_url(url: str) -> str:
    """Return an address that keys may come from. Raises ValueError."""
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("https", "http") or parts.username is not None:
        raise ValueError("must be an address that begins with https://")
    if parts.scheme == "http" and parts.hostname not in LOCAL:
        raise ValueError("must begin with https://: keys would travel in the open")
    return url


def _endpoint(text: str) -> str:
    if "://" in text:
        if urlsplit(safe_url(text)).path not in ("", "/"):
            raise ValueError("must be a host, without a path")
        # What is left of it would be the SDK's Host header.
        return text.removeprefix("https://").rstrip("/")
    if not text or any(letter in text for letter in "/?#@ "):
        raise ValueError("must be a host, such as sts-vpc.cn-shanghai.aliyuncs.com")
    return text


def session_policy(text: str) -> str:
    """Return a RAM policy without spaces: the SDK signs those in a way that STS does not.

    Raises ValueError.
    """
    try:
        policy = json.loads(text)
    except ValueError:
        policy = None
    if not isinstance(policy, dict):
        raise ValueError("must be a RAM policy: one JSON object")  # noqa: TRY004 - pydantic's kind
    return json.dumps(policy, separators=(",", ":")).replace(" ", "\\u0020")


RoleArn = Annotated[str, StringConstraints(pattern=r"^acs:ram::\d+:role/[^/\s]+$")]
ProviderArn = Annotated[str, StringConstraints(pattern=r"^acs:ram::\d+:oidc-provider/[^/\s]+$")]
SessionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.@_-]{2,64}$")]
# Of STS: at least 15 minutes, at most what the role allows.
Duration = Annotated[int, Field(ge=900, le=43_200)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
SessionPolicy = Annotated[str, AfterValidator(session_policy)]
ExternalId = Annotated[
    str, StringConstraints(min_length=2, max_length=1224, pattern=r"^[A-Za-z0-9_+=,.@:/-]+$")
]
Text = Annotated[str, StringConstraints(min_length=1)]


class EnvironmentKey(File):
    """A key (access_key, or sts with a token) in ALIBABA_CLOUD_ACCESS_KEY_ID and its siblings."""

    type: Literal["environment"] = "environment"


class FileKey(File):
    """A key (access_key, or sts with a token) in a file of its own, such as a mounted secret."""

    type: Literal["file"] = "file"
    path: Path


class OidcRole(File):
    """A role of RAM that a service account of the cluster may take (RRSA).

    ack-pod-identity-webhook sets ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN and
    ALIBABA_CLOUD_OIDC_TOKEN_FILE in the pod; they stand for what is left out.
    """

    type: Literal["oidc_role_arn"]
    role_arn: RoleArn | None = None
    oidc_provider_arn: ProviderArn | None = None
    oidc_token_file: Path | None = None
    session_name: SessionName | None = None
    duration_seconds: Duration = 3600
    policy: SessionPolicy | None = None
    sts_endpoint: Endpoint | None = None


class RamRole(File):
    """A role of RAM that another credential, `base`, may assume, in the same account or another."""

    type: Literal["ram_role_arn"]
    role_arn: RoleArn
    base: CredentialsFile = EnvironmentKey()
    session_name: SessionName | None = None
    external_id: ExternalId | None = None
    duration_seconds: Duration = 3600
    policy: SessionPolicy | None = None
    sts_endpoint: Endpoint | None = None


class EcsRole(File):
    """The role of the ECS instance that the gateway runs on, from its metadata service (IMDSv2)."""

    type: Literal["ecs_ram_role"]
    role_name: Text | None = None


class CredentialsUri(File):
    """A service that hands out keys; ALIBABA_CLOUD_CREDENTIALS_URI where `uri` is left out."""

    type: Literal["credentials_uri"]
    uri: Annotated[str, AfterValidator(safe_url)] | None = None


class RsaKeyPair(File):
    """A key pair of RAM, which Alibaba Cloud has kept in ap-northeast-1 only.

    Requests are signed with the private key (PEM; SHA256withRSA); STS has the public one.
    """

    type: Literal["rsa_key_pair"]
    public_key_id: Text
    private_key_file: Path
    duration_seconds: Duration = 3600
    sts_endpoint: Endpoint | None = None


class Profile(File):
    """A section of the SDKs' credentials.ini; by default `default` of ~/.alibabacloud's."""

    type: Literal["profile"]
    name: Text | None = None
    file: Path | None = None


class CliProfile(File):
    """A profile of the aliyun command; by default the current one of ~/.aliyun/config.json.

    It may be of any of the command's modes: CloudSSO, OAuth and External are among them.
    """

    type: Literal["cli_profile"]
    name: Text | None = None
    file: Path | None = None


class DefaultChain(File):
    """Whatever the SDKs would find: environment, RRSA, profiles, ECS role, URI, in this order."""

    type: Literal["default"]


def _typed(value: Any) -> Any:
    """Give what was written before there were types, with a `source` or nothing, its type."""
    if not isinstance(value, Mapping) or "type" in value:
        return value
    if value and "source" not in value:
        raise ValueError("type is missing, such as oidc_role_arn")
    rest = {name: member for name, member in value.items() if name != "source"}
    return rest | {"type": value.get("source", "environment")}


# In the order of the documentation: what a cluster uses first.
KINDS: Final[tuple[type[File], ...]] = (
    OidcRole,
    RamRole,
    EcsRole,
    FileKey,
    EnvironmentKey,
    CredentialsUri,
    CliProfile,
    Profile,
    DefaultChain,
    RsaKeyPair,
)
_Any = (
    EnvironmentKey
    | FileKey
    | OidcRole
    | RamRole
    | EcsRole
    | CredentialsUri
    | RsaKeyPair
    | Profile
    | CliProfile
    | DefaultChain
)
CredentialsFile = Annotated[
    Annotated[_Any, Field(discriminator="type")],
    BeforeValidator(_typed),
]
