"""The alert rules by the real promtool, and the runbook that they point to."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from helm.dashboards.__main__ import DASHBOARDS
from ims_gateway.cli.commands import app as imsgw
from ims_gateway_client.cli.app import app as imsctl
from tests.prometheus import installed

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "helm" / "ims-gateway" / "rules" / "alerts.yaml"
CASES = Path(__file__).with_name("tests.yaml")
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
COMMANDS = {"imsgw": imsgw, "imsctl": imsctl}


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alert rules by their names."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def passes(promtool: str, verb: str, file: Path) -> None:
    """Have promtool look at rules."""
    done = subprocess.run(
        [promtool, verb, "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def promtool() -> str:
    """Return Prometheus' own tool for rules."""
    return installed("promtool")


def test_rules_are_valid(promtool):
    """Prometheus takes the rules and their texts."""
    passes(promtool, "check", RULES)


def test_alerts_fire_when_they_should_and_not_otherwise(promtool):
    """Every case of tests.yaml."""
    passes(promtool, "test", CASES)


@pytest.mark.parametrize("name", alerts())
def test_alert_is_whole(name):
    """An alert says how bad it is, what it is, and where the runbook says what to do."""
    alert = alerts()[name]
    assert alert["labels"]["severity"] in {"info", "warning", "critical"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"


def test_runbook_has_a_section_for_each_alert_and_no_other():
    """In the order of the rules or not, but all of them, once."""
    assert sorted(re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)) == sorted(alerts())


@pytest.mark.parametrize("name", alerts())
def test_alert_has_a_case_in_which_it_fires(name):
    """A rule that no case makes fire may never do so."""
    assert f'alertname="{name}"' in CASES.read_text(encoding="utf-8")


def test_links_within_the_runbook_lead_to_a_section():
    """An anchor is the name of an alert in small letters."""
    anchors = set(re.findall(r"\]\(#(\w+)\)", RUNBOOK))
    assert anchors
    assert anchors <= {name.lower() for name in alerts()}


def test_panels_that_the_runbook_names_exist():
    """`**Overview > Panel**` is a panel of the dashboard of that name."""
    named = re.findall(r"\*\*(\w+) > ([^*]+)\*\*", RUNBOOK)
    assert named
    titles = {
        (name, panel.title)
        for name, dashboard in DASHBOARDS.items()
        for row in dashboard.rows
        for panel in row.panels
    }
    for dashboard, panel in named:
        assert (dashboard.lower(), " ".join(panel.split())) in titles


def commands() -> list[str]:
    """Return what the runbook has people type, and what it quotes in a sentence."""
    blocks = re.findall(r"```sh\n(.*?)```", RUNBOOK, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    quoted = re.findall(r"`((?:imsgw|imsctl) [^`]+)`", RUNBOOK)
    return sorted({line for line in (*lines, *quoted) if line.split()[0] in COMMANDS})


@pytest.mark.parametrize("line", commands())
def test_command_of_the_runbook_exists(line):
    """Each word is a command or a flag that the command line knows."""
    name, *words = shlex.split(line)
    command: Any = get_command(COMMANDS[name])
    for word in words:
        if word.startswith("--"):
            flags = {flag for parameter in command.params for flag in parameter.opts}
            assert word in flags, f"{line}: no {word}"
        elif hasattr(command, "commands"):
            assert word in command.commands, f"{line}: no {word}"
            command = command.commands[word]
