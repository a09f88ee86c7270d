"""The API keys in the files of the configuration folder, for the commands of an operator.

Decides where a key stands, and what of a changed file is written: one that reads as a whole, in the
place of the old one at once. A gateway takes it like every other change.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ims_gateway.tenancy.files import TenantFile
from ims_gateway.tenancy.key_edits import CannotEdit, add_key, remove_key, set_member
from ims_gateway.tenancy.platform import place_of
from ims_gateway.tenancy.principal_file import KeyFile, OperatorsFile
from ims_gateway.tenancy.reading import ConfigurationError, Fault, parse, text_of


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key, whose it is and where it stands. The tenant is empty for an operator's."""

    file: Path
    tenant: str
    principal: str
    key: KeyFile

    def state(self, now: datetime) -> str:
        """Return "active", "expired" or "disabled"."""
        if self.key.disabled:
            return "disabled"
        expired = self.key.expires is not None and self.key.expires <= now
        return "expired" if expired else "active"


def stored_keys(folder: Path) -> Iterator[StoredKey]:
    """Yield all keys, by file. Raises ConfigurationError for a file that is not good."""
    operators = place_of(folder) / "operators.yaml"
    for file in sorted((folder / "tenants").glob("[!.]*.yaml")):
        tenant = parse(text_of(file), file.name, TenantFile)
        for principal in tenant.principals:
            for key in principal.keys:
                yield StoredKey(file, tenant.name, principal.name, key)
    if operators.exists():
        for operator in parse(text_of(operators), operators.name, OperatorsFile).operators:
            for key in operator.keys:
                yield StoredKey(operators, "", operator.name, key)


def rotate(stored: StoredKey, key_id: str, key_hash: str, overlap_ends: datetime) -> datetime:
    """Put a new key beside the old one, and return when the old one ends: by then at the latest."""
    ends = min(stored.key.expires or overlap_ends, overlap_ends)
    written = ends.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def edit(text: str) -> str:
        text = add_key(text, stored.key.id, key_id, key_hash)
        return set_member(text, stored.key.id, "expires", written, written)

    _change(stored.file, edit)
    return ends


def disable(stored: StoredKey) -> None:
    """Refuse the key from now on, and leave it in its file."""
    written = (stored.key.id, "disabled", True, "true")
    _change(stored.file, lambda text: set_member(text, *written))


def revoke(stored: StoredKey) -> None:
    """Take the key out of its file."""
    _change(stored.file, lambda text: remove_key(text, stored.key.id))


def _change(file: Path, edit: Callable[[str], str]) -> None:
    """Write the edited file.

    Raises ConfigurationError where it cannot be edited or would not be good, and changes nothing
    then.
    """
    try:
        text = edit(text_of(file))
    except CannotEdit:
        raise ConfigurationError([Fault(file.name, 0, "edit it by hand")]) from None
    parse(text, file.name, OperatorsFile if file.name == "operators.yaml" else TenantFile)
    _write(file.resolve(), text)


def _write(file: Path, text: str) -> None:
    """Replace a file: whoever reads it meets all of the old one or all of the new one."""
    # Begins with a dot: no tenant.
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("x", encoding="utf-8") as opened:
            beside.chmod(file.stat().st_mode & 0o777)
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
