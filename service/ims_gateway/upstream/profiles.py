"""Keys of profiles: the SDKs' credentials.ini, and the configuration of the aliyun command.

Decides which provider a profile asks for. Its file is read for each key, and the provider is made
for that key and thrown away, as all are: those of the package's own readers keep one, which then
answers from a cache, asks ECS for roles by IMDSv1 and in a thread, and loses when a key ends.
"""

from __future__ import annotations

import configparser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from alibabacloud_credentials import provider as package

from ims_gateway.tenancy.credentials_file import safe_url, session_policy
from ims_gateway.upstream import cli_file
from ims_gateway.upstream.credentials import CredentialsUnavailable
from ims_gateway.upstream.key_pair import KeyPair
from ims_gateway.upstream.oauth import OAuth

SESSION_NAME: Final = "ims-gateway"
Profile = Mapping[str, Any]


def of_ini(file: Path, name: str) -> Any:
    """Return the provider of a section of credentials.ini. Raises CredentialsUnavailable."""
    section = _section(file, name)
    make = INI.get(str(section.get("type")))
    if make is None:
        raise CredentialsUnavailable(f"{file}: the type of profile {name} is not known")
    return make(section)


def of_cli(file: Path, name: str | None) -> Any:
    """Return the provider of a profile of the aliyun command, by default its current one.

    Raises CredentialsUnavailable.
    """
    return _of_cli(file, name or cli_file.current(file), ())


def _of_cli(file: Path, name: str, before: tuple[str, ...]) -> Any:
    if name in before:
        raise CredentialsUnavailable(f"{file}: profile {name} is its own source_profile")
    profile = cli_file.profile(file, name)
    mode = profile.get("mode")
    if mode == "OAuth":
        return OAuth(file, name)
    if mode == "ChainableRamRoleArn":
        source = str(profile.get("source_profile") or "")
        return _role(profile, _of_cli(file, source, (*before, name)))
    make = CLI.get(str(mode))
    if make is None:
        raise CredentialsUnavailable(f"{file}: the mode of profile {name} is not known")
    return make(profile)


def _section(file: Path, name: str) -> Profile:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text("utf-8"))
        section = parser[name]
    except OSError as error:
        raise CredentialsUnavailable(f"{file}: {error.strerror}") from None
    except KeyError:
        raise CredentialsUnavailable(f"{file}: it has no profile {name}") from None
    except (configparser.Error, ValueError):
        # The parser quotes the line that it stumbled over, and that line is the secret.
        raise CredentialsUnavailable(f"{file}: it is no INI file") from None
    return {_AS_CLI.get(key, key): text.split("#")[0].strip() for key, text in section.items()}


# What the two files call in different ways; here it has the names of the aliyun command.
_AS_CLI: Final = {
    "security_token": "sts_token",
    "role_arn": "ram_role_arn",
    "role_session_name": "ram_session_name",
    "role_name": "ram_role_name",
    "oidc_token_file_path": "oidc_token_file",
}


def _key(profile: Profile) -> Any:
    parts = {name: profile.get(name) for name in ("access_key_id", "access_key_secret")}
    if token := profile.get("sts_token"):
        return package.StaticSTSCredentialsProvider(**parts, security_token=token)
    return package.StaticAKCredentialsProvider(**parts)


def _role(profile: Profile, base: Any) -> Any:
    return package.RamRoleArnCredentialsProvider(
        credentials_provider=base, external_id=profile.get("external_id"), **_session(profile)
    )


def _oidc(profile: Profile) -> Any:
    return package.OIDCRoleArnCredentialsProvider(
        oidc_provider_arn=profile.get("oidc_provider_arn"),
        oidc_token_file_path=profile.get("oidc_token_file"),
        **_session(profile),
    )


def _session(profile: Profile) -> dict[str, Any]:
    policy = profile.get("policy")
    return {
        "role_arn": profile.get("ram_role_arn"),
        "role_session_name": profile.get("ram_session_name")
        or profile.get("role_session_name")
        or SESSION_NAME,
        # 0 stands for the default, in what the aliyun command writes.
        "duration_seconds": profile.get("expired_seconds") or None,
        "policy": session_policy(policy) if policy else None,
        "sts_region_id": profile.get("sts_region"),
        "enable_vpc": profile.get("enable_vpc"),
    }


def _ecs(profile: Profile) -> Any:
    return ecs_role(str(profile.get("ram_role_name") or ""))


def ecs_role(name: str) -> Any:
    """Return the provider of the instance's role; any where none is named."""
    # IMDSv1 gives keys to whoever can have the machine fetch an address.
    return package.EcsRamRoleCredentialsProvider(
        role_name=name, disable_imds_v1=True, async_update_enabled=False
    )


def _key_pair(profile: Profile) -> Any:
    return KeyPair(str(profile.get("public_key_id")), Path(str(profile.get("private_key_file"))))


def _cloud_sso(profile: Profile) -> Any:
    try:
        address = safe_url(str(profile.get("cloud_sso_sign_in_url") or ""))
    except ValueError as error:
        raise CredentialsUnavailable(f"cloud_sso_sign_in_url {error}") from None
    return package.CloudSSOCredentialsProvider(
        sign_in_url=with_port(address),
        account_id=profile.get("cloud_sso_account_id"),
        access_config=profile.get("cloud_sso_access_config"),
        access_token=profile.get("access_token"),
        access_token_expire=profile.get("cloud_sso_access_token_expire") or 0,
    )


def _external(profile: Profile) -> Any:
    # Without the callback that writes the key into the file.
    return package.ExternalCredentialsProvider(process_command=profile.get("process_command"))


def with_port(address: str) -> str:
    """Return an address with its port: the package asks at port "None" where it names none."""
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return parts._replace(netloc=f"{host}:{port}").geturl()


CLI: Final[Mapping[str, Callable[[Profile], Any]]] = {
    "AK": _key,
    "StsToken": _key,
    "RamRoleArn": lambda profile: _role(profile, _key(profile)),
    "EcsRamRole": _ecs,
    "OIDC": _oidc,
    "CloudSSO": _cloud_sso,
    "External": _external,
}
INI: Final[Mapping[str, Callable[[Profile], Any]]] = {
    "access_key": _key,
    "ram_role_arn": CLI["RamRoleArn"],
    "oidc_role_arn": _oidc,
    "ecs_ram_role": _ecs,
    "rsa_key_pair": _key_pair,
}
