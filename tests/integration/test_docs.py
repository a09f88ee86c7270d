"""The documentation tells the truth: its tables, its examples, its commands."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ims_gateway.app import gateway
from ims_gateway.emulator.server import Emulator
from ims_gateway.emulator.settings import AccessKey, EmulatorSettings
from ims_gateway.policy.lint import lint
from ims_gateway.policy.suites import Examiner
from ims_gateway.sandbox import configuration
from ims_gateway.tenancy.loading import load

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE = [
    path
    for path in (
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("helm/**/*.md"),
    )
    if path.is_file()
]


def test_generated_tables_are_up_to_date():
    """What `make docs` would write is what stands there."""
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_examples_of_the_files_are_valid(tmp_path):
    """The reference's accounts and tenant load as they are printed."""
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    for name in ("tenants", "policy_tests"):
        (tmp_path / name).mkdir()
    for name, content in re.findall(r"```yaml\n# (\S+\.yaml)\n(.*?)```", page, re.DOTALL):
        (tmp_path / name).write_text(content, encoding="utf-8")
    loaded = load(tmp_path, Examiner().read)
    assert loaded.directory.tenant("acme").region == "cn-shanghai"
    assert loaded.faults == {}
    # Its grants for editors and leads are about a tenant with more people in it.
    assert {found.code for found in lint(tmp_path)} == {"unreachable-subject"}


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    """Every relative link of the documentation is a file."""
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_targets_of_make_that_the_readme_names_exist():
    """A command of the README is a command."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


JOB_ID = r"\b[0-9a-f]{14}-[0-9a-f]{10}\b"


def pattern(line: str) -> str:
    """Return what a line of output looks like: words stay, figures and ids may differ."""
    line = re.sub(r"(?i)\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID", line)
    line = re.sub(rf"{JOB_ID}|\b[0-9a-f]{{32}}\b|\b[0-9a-f]{{12}}\b", "ID", line)
    line = re.sub(r"[\d.]+ m?s\b", "TIME", line)
    return re.sub(r"[█▏▎▍▌▋▊▉ ]+", " ", re.sub(r"\d+", "N", line)).rstrip()


async def test_commands_of_the_readme_print_what_it_shows(tmp_path):
    """The console session of the README, run against a sandbox."""
    block = re.search(r"```console\n(.*?)```", README, re.DOTALL)[1]
    steps = re.findall(r"^\$ (.+)\n((?:[^$].*\n)*)", block, re.MULTILINE)
    assert len(steps) == 4
    secret = configuration.account_secret()
    settings = EmulatorSettings(
        access_keys={configuration.ACCESS_KEY_ID: AccessKey(secret)},
        job_seconds=1.0,
        http_port=None,
        https_port=0,
    )
    async with Emulator(settings) as emulator:
        sandbox = configuration.write(
            tmp_path, emulator, secret, listen="127.0.0.1:0", metrics_listen=""
        )
        async with gateway(sandbox.settings, sandbox.environment) as running:
            environment = {
                "PATH": os.environ["PATH"],
                "IMSCTL_API_KEY": sandbox.api_keys["acme"],
                "IMSCTL_TARGET": f"127.0.0.1:{running.port}",
                "COLUMNS": "200",
            }
            job = ""
            for command, shown in steps[1:]:
                of_job = re.sub(JOB_ID, job, command)
                seen = await _output(of_job.replace(".venv/bin", str(BIN)), environment)
                assert _shape(seen) == _shape(shown)
                job = job or re.search(JOB_ID, seen)[0]


async def _output(command: str, environment: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_shell(
        f"{command} 2>&1", env=environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return output.decode()


def _shape(output: str) -> list[str]:
    """Return the lines' patterns; a quick job may be seen in fewer states."""
    return [pattern(line) for line in output.splitlines() if " RUNNING  " not in line]
