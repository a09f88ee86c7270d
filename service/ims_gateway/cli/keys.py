"""imsgw keys: API keys in the files of IMSGW_CONFIG_DIR.

Decides flags and words. A key itself is printed once, when it is made, and is kept nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ims_gateway.cli.form import Form
from ims_gateway.identity.keys import key_hash, new_key
from ims_gateway.tenancy import key_store
from ims_gateway.tenancy.key_store import StoredKey
from ims_gateway.tenancy.reading import ConfigurationError

# Of sysexits.h.
UNUSABLE: Final = 78

app = typer.Typer(help="API keys.", no_args_is_help=True)

Pepper = Annotated[str, typer.Option(envvar="IMSGW_KEY_PEPPER", help="The gateway's pepper.")]
Folder = Annotated[
    Path, typer.Option(envvar="IMSGW_CONFIG_DIR", exists=True, file_okay=False, help="The files.")
]
KeyId = Annotated[str, typer.Argument(help="The key's id, as `imsgw keys list` shows it.")]
Tenant = Annotated[str | None, typer.Option(help="Of this tenant only.")]
Output = Annotated[Form, typer.Option(help="For people or for programs.")]


@app.command()
def create(*, pepper: Pepper, output: Output = Form.TABLE) -> None:
    """Make an API key: the caller gets the key, the tenant's file gets its id and hash."""
    made = _made(pepper)
    if output is Form.JSON:
        typer.echo(json.dumps(made))
        return
    typer.echo(f"Shown once, for the caller:\n  {made['key']}\n")
    typer.echo("For the tenant's file, under the principal's keys:")
    typer.echo(f"  - id: {made['id']}\n    hash: {made['hash']}")


@app.command("list")
def list_keys(*, config_dir: Folder, tenant: Tenant = None, output: Output = Form.TABLE) -> None:
    """List the keys of all tenants and operators. Hashes are not shown."""
    now = datetime.now(UTC)
    with _faults():
        found = [
            _facts(stored, now)
            for stored in key_store.stored_keys(config_dir)
            if tenant in (None, stored.tenant)
        ]
    if output is Form.JSON:
        typer.echo(json.dumps(found))
        return
    head = ("TENANT", "PRINCIPAL", "ID", "EXPIRES", "STATE")
    rows = [head, *([fact or "-" for fact in facts.values()] for facts in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


@app.command()
def rotate(
    *,
    key_id: KeyId,
    pepper: Pepper,
    config_dir: Folder,
    tenant: Tenant = None,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=8760, help="How long the old key goes on.")
    ] = 24.0,
    output: Output = Form.TABLE,
) -> None:
    """Make a new key beside an old one, which ends when the overlap does."""
    made = _made(pepper)
    with _faults():
        stored = _found(config_dir, key_id, tenant)
        ends = datetime.now(UTC) + timedelta(hours=overlap_hours)
        ends = key_store.rotate(stored, made["id"], made["hash"], ends)
    if output is Form.JSON:
        typer.echo(json.dumps({**made, "replaces": key_id, "overlap_ends": _time(ends)}))
        return
    typer.echo(f"Shown once, for the caller:\n  {made['key']}\n")
    typer.echo(f"{stored.file}: {made['id']} added, {key_id} ends {_time(ends)}")


@app.command()
def disable(
    *, key_id: KeyId, config_dir: Folder, tenant: Tenant = None, output: Output = Form.TABLE
) -> None:
    """Refuse a key from now on, and leave it in its file."""
    with _faults():
        stored = _found(config_dir, key_id, tenant)
        key_store.disable(stored)
    _say(stored, "disabled", output)


@app.command()
def revoke(
    *, key_id: KeyId, config_dir: Folder, tenant: Tenant = None, output: Output = Form.TABLE
) -> None:
    """Take a key out of its file."""
    with _faults():
        stored = _found(config_dir, key_id, tenant)
        key_store.revoke(stored)
    _say(stored, "revoked", output)


def _made(pepper: str) -> dict[str, str]:
    key_id, key = new_key()
    return {"key": key, "id": key_id, "hash": key_hash(key, pepper.encode())}


def _found(folder: Path, key_id: str, tenant: str | None) -> StoredKey:
    found = [
        stored
        for stored in key_store.stored_keys(folder)
        if stored.key.id == key_id and tenant in (None, stored.tenant)
    ]
    if len(found) != 1:
        raise typer.BadParameter("no such key" if not found else "several tenants: give --tenant")
    return found[0]


def _facts(stored: StoredKey, now: datetime) -> dict[str, Any]:
    return {
        "tenant": stored.tenant,
        "principal": stored.principal,
        "id": stored.key.id,
        "expires": _time(stored.key.expires) if stored.key.expires else None,
        "state": stored.state(now),
    }


def _say(stored: StoredKey, done: str, output: Form) -> None:
    if output is Form.JSON:
        typer.echo(json.dumps({"id": stored.key.id, "tenant": stored.tenant, "state": done}))
    else:
        typer.echo(f"{stored.file}: {stored.key.id} of {stored.principal} {done}")


def _time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def _faults() -> Iterator[None]:
    """End the process with what is wrong with the files."""
    try:
        yield
    except ConfigurationError as error:
        for fault in error.faults:
            typer.echo(fault, err=True)
        raise typer.Exit(UNUSABLE) from None
