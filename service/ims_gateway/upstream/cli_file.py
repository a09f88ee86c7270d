"""The configuration file of the aliyun command: read, and written where a login is renewed.

Decides how that is done beside other processes: one at a time, and a reader sees the old file or
the new one. Never shows what stands in it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from ims_gateway.upstream.credentials import CredentialsUnavailable

Profile = Mapping[str, Any]
Write = Callable[[str, Mapping[str, Any]], None]
_OWNER_ALONE: Final = 0o600


def current(file: Path) -> str:
    """Return the name of the profile that is in use. Raises CredentialsUnavailable."""
    name = _read(file).get("current")
    if not isinstance(name, str) or not name:
        raise CredentialsUnavailable(f"{file}: it names no current profile")
    return name


def profile(file: Path, name: str) -> Profile:
    """Return a profile. Raises CredentialsUnavailable."""
    return _named(_read(file), file, name)


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Keep other processes of the gateway, and other threads, waiting at the same place."""
    # The folder's lock: the file itself is another one after each change, and this one may be
    # had without the right to write.
    handle = os.open(file.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def rewriting(file: Path) -> Iterator[Write]:
    """Give what changes members of a profile; inside of `alone`.

    That there is a place to write to is seen to before: what is renewed must not be lost.
    Raises CredentialsUnavailable.
    """
    whole = file.resolve()
    new = whole.with_name(f"{whole.name}.ims-gateway")
    try:
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ALONE)
    except OSError as error:
        raise CredentialsUnavailable(
            f"{file}: the login has to be renewed, and cannot be written there: {error.strerror}"
        ) from None

    def write(name: str, members: Mapping[str, Any]) -> None:
        content = _read(file)
        _named(content, file, name).update(members)
        with open(handle, "w", encoding="utf-8", closefd=False) as text:
            json.dump(content, text, indent=4, ensure_ascii=False)
        os.fchmod(handle, whole.stat().st_mode & 0o777)
        os.fsync(handle)
        new.rename(whole)

    try:
        yield write
    finally:
        os.close(handle)
        with suppress(FileNotFoundError):
            new.unlink()


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise CredentialsUnavailable(f"{file}: {error.strerror}") from None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise CredentialsUnavailable(f"{file}: it is no configuration of the aliyun command")
    return content


def _named(content: dict[str, Any], file: Path, name: str) -> dict[str, Any]:
    for each in content.get("profiles") or ():
        if isinstance(each, dict) and each.get("name") == name:
            return each
    raise CredentialsUnavailable(f"{file}: it has no profile {name}")
