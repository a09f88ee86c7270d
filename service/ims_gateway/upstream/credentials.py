"""Whose key signs the calls of an account.

Decides where an access key is read from and when it is read again. Never reads the process
environment (settings hand in what they read) and never puts a secret into a message or a repr.
A provider that has to ask the network refreshes off the event loop; a request only ever takes
the last snapshot.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import yaml

_RECHECK_SECONDS = 1.0
_KEY_TEXT = re.compile(r"[\x21-\x7e]+")
_FIELDS = ("access_key_id", "access_key_secret", "security_token")


class CredentialsUnavailable(Exception):  # noqa: N818 - reads as what it says about an account
    """No usable access key can be had. The message says where, never what was found there."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One access key. With `security_token`, a temporary one (STS).

    expires_at: aware; None where the key does not expire or its end is not known.
    Raises CredentialsUnavailable for text that cannot be a key, such as one with a line end.
    """

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        for name in _FIELDS:
            text = getattr(self, name)
            if text is None and name == "security_token":
                continue
            if not isinstance(text, str) or not _KEY_TEXT.fullmatch(text):
                raise CredentialsUnavailable(f"{name} must be one line of printable ASCII")


class CredentialsProvider(Protocol):
    """Where a client finds the key to sign with."""

    def snapshot(self) -> Credentials:
        """Return the key to use now, without waiting. Raises CredentialsUnavailable."""


class EnvironmentCredentials:
    """The key in Alibaba Cloud's own environment variables.

    environment: what settings read from the process; it is read once, here.
    Raises CredentialsUnavailable.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        try:
            self._credentials = Credentials(
                access_key_id=environment["ALIBABA_CLOUD_ACCESS_KEY_ID"],
                access_key_secret=environment["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
                security_token=environment.get("ALIBABA_CLOUD_SECURITY_TOKEN") or None,
            )
        except KeyError as missing:
            raise CredentialsUnavailable(f"{missing.args[0]} is not set") from None

    def snapshot(self) -> Credentials:
        """Return the key."""
        return self._credentials


class FileCredentials:
    """The key in a YAML or JSON file.

    The file holds access_key_id, access_key_secret and, for a temporary key, security_token. It
    is looked at again at most once a second and read again when it has changed, so a rotated
    Kubernetes secret is in use a second after it is mounted. A file that is gone or bad never
    replaces a good key; `problem` then says what is wrong with it.

    Who else may read the file is not checked: Kubernetes mounts secrets 0644 and guards the
    volume instead. Outside of Kubernetes, give it mode 0600.

    clock: seconds, monotonic. Raises CredentialsUnavailable where there is no good key to begin
    with.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._checked_at = clock()
        self._version: tuple[int, ...] = ()
        self._problem: str | None = None
        self._credentials = self._read()

    @property
    def problem(self) -> str | None:
        """What is wrong with the file, where the key in use is older than the file; else None."""
        return self._problem

    def snapshot(self) -> Credentials:
        """Return the newest good key."""
        now = self._clock()
        if now - self._checked_at >= _RECHECK_SECONDS:
            self._checked_at = now
            self._look_again()
        return self._credentials

    def _look_again(self) -> None:
        try:
            if self._stat() != self._version:
                self._credentials = self._read()
            self._problem = None
        except CredentialsUnavailable as problem:
            self._problem = str(problem)
            self._version = ()

    def _read(self) -> Credentials:
        # The version is taken first: a file that changes in between is then read once more.
        version = self._stat()
        try:
            credentials = Credentials(**self._fields())
        except CredentialsUnavailable as problem:
            raise CredentialsUnavailable(f"{self._path}: {problem}") from None
        self._version = version
        return credentials

    def _stat(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except OSError as error:
            raise CredentialsUnavailable(f"{self._path}: {error.strerror}") from None
        return (status.st_mtime_ns, status.st_size, status.st_ino)

    def _fields(self) -> dict[str, Any]:
        try:
            document = _parse(self._path.read_text("utf-8"))
        except OSError as error:
            raise CredentialsUnavailable(f"it cannot be read: {error.strerror}") from None
        except (yaml.YAMLError, ValueError):
            # The parser quotes the line that it stumbled over, and that line is the secret.
            raise CredentialsUnavailable("it is neither YAML nor JSON") from None
        if not isinstance(document, dict) or not set(_FIELDS[:2]) <= set(document) <= set(_FIELDS):
            raise CredentialsUnavailable(
                "it must hold access_key_id and access_key_secret, may hold security_token, "
                "and nothing else"
            )
        return document


def _parse(text: str) -> Any:
    # YAML takes in nearly all of JSON, but not the tabs that JSON may be indented with.
    return json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
