"""imsgw doctor: what is wrong around a gateway, and what to do.

Decides how findings are printed; what is looked at is decided in `doctor/`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer
from pydantic import ValidationError

from ims_gateway.cli.form import Form, Output
from ims_gateway.settings import Settings, environment

if TYPE_CHECKING:  # imported where it is needed: other commands start without all of it
    from ims_gateway.doctor.finding import Finding

FAILED: Final = 1
COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    *,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Longest time of one check.")
    ] = 20.0,
    output: Output = Form.TABLE,
) -> None:
    """Check all that a gateway needs, with the settings of `imsgw serve`, and say what to do.

    Store, files, policies, certificates, ports, issuers, credentials, upstream, telemetry. Changes
    nothing, shows no secret, and needs no gateway. Exit code 1 where a check fails; warnings do not
    count.
    """
    from ims_gateway.doctor.examination import examine  # noqa: PLC0415 - see above
    from ims_gateway.doctor.finding import Level  # noqa: PLC0415

    try:
        settings = _settings()
    except ValidationError as error:
        found = _of_settings(error)
    else:
        found = asyncio.run(examine(settings, environment(), timeout))
    failed = any(each.level is Level.FAIL for each in found)
    if output is Form.JSON:
        facts = [dataclasses.asdict(each) for each in found]
        typer.echo(json.dumps({"ok": not failed, "findings": facts}, ensure_ascii=False, indent=2))
    else:
        _print(found)
    if failed:
        raise typer.Exit(FAILED)


def _settings(read: Callable[..., Settings] = Settings) -> Settings:
    return read()


def _of_settings(error: ValidationError) -> list[Finding]:
    """Return the faults of the settings; without them nothing else can be looked at."""
    from ims_gateway.doctor.finding import fail  # noqa: PLC0415 - see above

    advice = "Set it as docs/reference.md says; the other checks need all settings."
    return [
        fail("settings", "_".join(["IMSGW", *map(str, fault["loc"])]).upper(), fault["msg"], advice)
        for fault in error.errors()
    ]


def _print(found: Sequence[Finding]) -> None:
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415

    from ims_gateway_client.cli.console import console, plain  # noqa: PLC0415

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for each in found:
        words = Text(plain(each.found))
        if each.advice:
            words.append(f"\n→ {each.advice}", style="bold")
        level = Text(str(each.level), style=COLOURS[each.level])
        table.add_row(level, Text(each.check), Text(plain(each.subject)), words)
    screen = console()
    screen.print(table)
    counts = {level: sum(each.level == level for each in found) for level in COLOURS}
    screen.print(", ".join(f"{level}: {count}" for level, count in counts.items()))
