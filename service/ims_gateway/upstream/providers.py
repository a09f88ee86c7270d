"""Keys that are handed out for a while, by the providers of `alibabacloud-credentials`.

Decides which of the package's providers stands for which kind of `credentials`. Never shows a
secret, see `harmless`. All of it waits for the network, and so is for a thread of its own.

A provider is made for each request and thrown away. One that is kept answers from a cache with
rules of its own: it hides failures, hands out a key of an ECS role that has ended, and reads a
profile once. One of an ECS role also starts a scheduler in a thread, for good, unless told not to;
so does the package's own chain of defaults, which is therefore linked anew here, as profiles are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from alibabacloud_credentials import provider as package
from alibabacloud_credentials.provider.refreshable import Credentials as Handed

from ims_gateway.tenancy import credentials_file as files
from ims_gateway.upstream.credentials import (
    Credentials,
    CredentialsUnavailable,
    EnvironmentCredentials,
    FileCredentials,
)
from ims_gateway.upstream.harmless import told
from ims_gateway.upstream.key_pair import KeyPair
from ims_gateway.upstream.profiles import SESSION_NAME, ecs_role, of_cli, of_ini, with_port

Fetch = Callable[[], Credentials]
Make = Callable[[], Any]
Environment = Mapping[str, str]


def fetcher(file: files.CredentialsFile, environment: Environment) -> Fetch:
    """Return what asks for a key, anew each time, and raises CredentialsUnavailable.

    What is missing in the environment or on the disk is raised here and now.
    """
    for name in ("credentials", "alibabacloud-tea"):
        # They print what they are told, secrets included, and on their own to standard error.
        logging.getLogger(name).disabled = True
    # Its warnings have the address that was asked for, and that has the token in its query.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    if isinstance(file, files.EnvironmentKey):
        return EnvironmentCredentials(environment).snapshot
    if isinstance(file, files.FileKey):
        return FileCredentials(file.path).snapshot
    make = _maker(file, environment)
    return lambda: _fetched(file.type, make)


def _fetched(kind: str, make: Make) -> Credentials:
    try:
        return _ours(make().get_credentials())
    except CredentialsUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever broke in the package, there is no key
        reason = f"{kind}: {told(error)}"
    # Raised out here, so that nothing holds on to the package's exception and what is in it.
    raise CredentialsUnavailable(reason)


def _maker(file: files.CredentialsFile, environment: Environment) -> Make:
    """Return what makes a provider of the package."""
    make: Make
    match file:
        case files.OidcRole():
            make = _oidc_role(file, environment)
        case files.RamRole():
            make = _ram_role(file, environment)
        case files.EcsRole():
            make = _ecs_role(file.role_name, environment)
        case files.CredentialsUri():
            make = _uri(_given("uri", file.uri, environment, "ALIBABA_CLOUD_CREDENTIALS_URI"))
        case files.RsaKeyPair():
            make = _key_pair(file)
        case files.Profile():
            make = _profile(file, environment)
        case files.CliProfile():
            make = _cli_profile(file, environment)
        case _:
            make = _Chain(environment)
    return make


def _oidc_role(file: files.OidcRole, environment: Environment) -> Make:
    role = _given("role_arn", file.role_arn, environment, "ALIBABA_CLOUD_ROLE_ARN")
    issuer = _given(
        "oidc_provider_arn", file.oidc_provider_arn, environment, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN"
    )
    token_file = Path(
        _given(
            "oidc_token_file", file.oidc_token_file, environment, "ALIBABA_CLOUD_OIDC_TOKEN_FILE"
        )
    )
    _check_readable(token_file)
    return lambda: package.OIDCRoleArnCredentialsProvider(
        role_arn=role,
        oidc_provider_arn=issuer,
        oidc_token_file_path=str(token_file),
        role_session_name=_session_name(file.session_name, environment),
        duration_seconds=file.duration_seconds,
        policy=file.policy,
        sts_endpoint=file.sts_endpoint,
    )


def _ram_role(file: files.RamRole, environment: Environment) -> Make:
    base = _Lent(fetcher(file.base, environment))
    return lambda: package.RamRoleArnCredentialsProvider(
        credentials_provider=base,
        role_arn=file.role_arn,
        role_session_name=_session_name(file.session_name, environment),
        duration_seconds=file.duration_seconds,
        policy=file.policy,
        external_id=file.external_id,
        sts_endpoint=file.sts_endpoint,
    )


def _ecs_role(name: str | None, environment: Environment) -> Make:
    role = name or environment.get("ALIBABA_CLOUD_ECS_METADATA") or ""
    return lambda: ecs_role(role)


def _uri(uri: str) -> Make:
    return lambda: package.URLCredentialsProvider(uri=with_port(uri))


def _key_pair(file: files.RsaKeyPair) -> Make:
    _check_readable(file.private_key_file)
    return lambda: KeyPair(
        file.public_key_id, file.private_key_file, file.duration_seconds, file.sts_endpoint
    )


def _profile(file: files.Profile, environment: Environment) -> Make:
    path = file.file or _ini_file(environment)
    name = file.name or environment.get("ALIBABA_CLOUD_PROFILE") or "default"
    _check_readable(path)
    return lambda: of_ini(path, name)


def _cli_profile(file: files.CliProfile, environment: Environment) -> Make:
    path = file.file or _cli_file(environment)
    name = file.name or environment.get("ALIBABA_CLOUD_PROFILE")
    if environment.get("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "").lower() == "true":
        raise CredentialsUnavailable("ALIBABA_CLOUD_CLI_PROFILE_DISABLED is set")
    _check_readable(path)
    return lambda: of_cli(path, name)


def _ini_file(environment: Environment) -> Path:
    named = environment.get("ALIBABA_CLOUD_CREDENTIALS_FILE")
    return Path(named) if named else _home(environment) / ".alibabacloud" / "credentials.ini"


def _cli_file(environment: Environment) -> Path:
    return _home(environment) / ".aliyun" / "config.json"


def _home(environment: Environment) -> Path:
    return Path(environment.get("HOME") or Path.home())


class _Chain:
    """The package's chain of defaults, in its order, without its threads."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        # Of the links that there are; a profile may come later.
        self._fetches: dict[str, Fetch] = {}

    def __call__(self) -> _Chain:
        """Return itself."""
        return self

    def get_credentials(self) -> Handed:
        """Return the first key that there is."""
        failures = []
        for link in _LINKS:
            try:
                return _handed(self._fetch(link)())
            except CredentialsUnavailable as failure:
                failures.append(str(failure))
        raise CredentialsUnavailable("; ".join(failures))

    def _fetch(self, link: files.CredentialsFile) -> Fetch:
        if link.type not in self._fetches:
            self._fetches[link.type] = fetcher(link, self._environment)
        return self._fetches[link.type]


_LINKS: Final = (
    files.EnvironmentKey(),
    files.OidcRole(type="oidc_role_arn"),
    files.CliProfile(type="cli_profile"),
    files.Profile(type="profile"),
    files.EcsRole(type="ecs_ram_role"),
    files.CredentialsUri(type="credentials_uri"),
)


class _Lent:
    """A key of ours as the package takes it, for assuming a role."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    def get_credentials(self) -> Handed:
        """Return the key."""
        return _handed(self._fetch())


def _handed(key: Credentials) -> Handed:
    return Handed(
        access_key_id=key.access_key_id,
        access_key_secret=key.access_key_secret,
        security_token=key.security_token,
        expiration=int(key.expires_at.timestamp()) if key.expires_at else None,
        provider_name="ims-gateway",
    )


def _ours(key: Handed) -> Credentials:
    ends = key.get_expiration()
    return Credentials(
        access_key_id=key.get_access_key_id(),
        access_key_secret=key.get_access_key_secret(),
        security_token=key.get_security_token() or None,
        expires_at=datetime.fromtimestamp(ends, UTC) if ends and ends > 0 else None,
    )


def _given(member: str, value: object, environment: Environment, variable: str) -> str:
    found = str(value or environment.get(variable) or "")
    if not found:
        raise CredentialsUnavailable(f"{member} is not given, and {variable} is not set")
    return found


def _session_name(name: str | None, environment: Environment) -> str:
    return name or environment.get("ALIBABA_CLOUD_ROLE_SESSION_NAME") or SESSION_NAME


def _check_readable(file: Path) -> None:
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise CredentialsUnavailable(f"{file}: {error.strerror}") from None
