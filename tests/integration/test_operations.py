"""docs/operations.md names commands, flags and values that exist, and figures that are so."""

from __future__ import annotations

import math
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from ims_gateway.cli.commands import app as imsgw
from ims_gateway.jobs.migrate import upgrade
from ims_gateway.settling import PAUSES_SECONDS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
CHART = ROOT / "helm" / "ims-gateway"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
# In code, inline or in a block: up to what ends it.
COMMANDS = sorted(set(re.findall(r"(?<![\w/-])imsgw ([a-z][^`|;\n]*)", PAGE)))
NAMED = sorted(
    name
    for name in set(re.findall(r"`([a-z]\w+(?:\.\w+)*)`", PAGE))
    if name.split(".")[0] in VALUES
)


def test_there_is_something_to_check():
    """The patterns above find what they are for."""
    assert len(COMMANDS) >= 8
    assert len(NAMED) >= 10


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_exist_with_their_flags(command):
    """Each is a command of imsgw, and takes the flags that are shown."""
    words = command.split()
    found = typer.main.get_command(imsgw)
    while hasattr(found, "commands") and words:
        name = words.pop(0)
        assert name in found.commands, f"imsgw has no {name}"
        found = found.commands[name]
    known = {flag for parameter in found.params for flag in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("name", NAMED)
def test_values_exist(name):
    """Each is a value of the chart."""
    place = VALUES
    for key in name.split("."):
        assert key in place, name
        place = place[key]


def test_figures_of_the_drain_are_the_charts():
    """The table's moments follow from the chart's values."""
    delay, drain = VALUES["drain"]["delaySeconds"], VALUES["drain"]["seconds"]
    text = (CHART / "templates" / "deployment.yaml").read_text(encoding="utf-8")
    settling = int(re.search(r"\$settling := (\d+)", text)[1])
    moments = [int(found) for found in re.findall(r"^\| (?:up to )?(\d+) s \|", PAGE, re.MULTILINE)]
    settled = delay + drain + math.ceil(sum(PAUSES_SECONDS))
    assert moments == [0, delay, delay + drain, settled, delay + drain + settling]


def test_a_version_refuses_the_schema_of_a_later_one(tmp_path):
    """The page's exit code and words, which is why a rollback over a migration cannot work."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    upgrade(url)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    done = subprocess.run(
        [Path(sys.executable).parent / "imsgw", "db", "upgrade"],
        env={"PATH": os.environ["PATH"], "IMSGW_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "schema is 9999" in done.stderr) == (78, True)


def test_targets_of_make_exist():
    """And so do those that measure."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`make (\w+)`", PAGE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
