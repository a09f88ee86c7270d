"""Keys of profiles: the SDKs' credentials.ini, and the configuration of the aliyun command.

Decides how long a provider of the package is kept: as long as its file stays as it is. It may start
a thread (a profile with an ECS role does), so there must not be a new one for each key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alibabacloud_credentials import provider as package
from alibabacloud_credentials.provider.refreshable import Credentials as Handed

from ims_gateway.upstream.credentials import CredentialsUnavailable


class _Noting:
    """A provider that notes when its key ends: what a profile hands on lacks it."""

    def __init__(self, provider: Any, profile: Any) -> None:
        self._provider = provider
        self._profile = profile

    def get_credentials(self) -> Handed:
        """Return the provider's key."""
        found = self._provider.get_credentials()
        self._profile.ends_at = found.get_expiration()
        return found

    def get_provider_name(self) -> str:
        """Return the provider's name."""
        return str(self._provider.get_provider_name())


class Ini(package.ProfileCredentialsProvider):  # type: ignore[misc]  # it has no types
    """A section of credentials.ini."""

    ends_at: int | None = None

    def _get_credentials_provider(self, *given: Any) -> Any:
        return _Noting(super()._get_credentials_provider(*given), self)


class Cli(package.CLIProfileCredentialsProvider):  # type: ignore[misc]  # likewise
    """A profile of the aliyun command."""

    ends_at: int | None = None

    def _get_credentials_provider(self, *given: Any) -> Any:
        return _Noting(super()._get_credentials_provider(*given), self)


class Profiles:
    """Gives, when called, the provider of a profile as its file is at present.

    Raises CredentialsUnavailable where there is no file.
    """

    def __init__(self, kind: type[Ini | Cli], file: Path, name: str | None) -> None:
        self._kind = kind
        self._file = file
        self._name = name
        self._version: tuple[int, ...] = ()
        self._provider: Any = None
        _version(file)

    def __call__(self) -> Profiles:
        """Return itself, with the provider that the file asks for now."""
        version = _version(self._file)
        if version != self._version:
            self._provider = self._kind(profile_file=str(self._file), profile_name=self._name)
            self._version = version
        return self

    def get_credentials(self) -> Handed:
        """Return the profile's key, with its end."""
        found = self._provider.get_credentials()
        return Handed(
            access_key_id=found.get_access_key_id(),
            access_key_secret=found.get_access_key_secret(),
            security_token=found.get_security_token(),
            expiration=self._provider.ends_at,
        )


def _version(file: Path) -> tuple[int, ...]:
    try:
        status = file.stat()
    except OSError as error:
        raise CredentialsUnavailable(f"{file}: {error.strerror}") from None
    return (status.st_mtime_ns, status.st_size, status.st_ino)
