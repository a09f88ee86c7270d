"""What the commands have in common that look into the ledger's database by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

import typer
from pydantic import ValidationError

from ims_gateway.jobs.database import Connection, database
from ims_gateway.settings import LedgerSettings

# Of sysexits.h.
UNAVAILABLE: Final = 69
UNUSABLE: Final = 78
DIFFERENT: Final = 1


@contextmanager
def ledger() -> Iterator[Connection]:
    """Open the ledger that IMSGW_DATABASE_URL names, or end the process with what is wrong."""
    try:
        settings = LedgerSettings()
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(["IMSGW", *(str(part) for part in fault["loc"])]).upper()
            typer.echo(f"{name}: {fault['msg']}", err=True)
        raise typer.Exit(UNUSABLE) from None
    target = database(settings.database_url.get_secret_value(), settings.database_timeout_seconds)
    try:
        with closing(target.connect()) as session:
            yield session.connection
    except target.error as error:
        # A table that is not there is a schema of another version.
        typer.echo(f"the ledger cannot be read: {error}", err=True)
        raise typer.Exit(UNAVAILABLE) from None
