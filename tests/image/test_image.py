"""The image: what its Dockerfile builds, built and started as it says, without a container engine.

The steps are those of image/build.sh, which the Dockerfile runs. Nobody may write to what was
built, and where the tests run as root, processes are the Dockerfile's user, in a user namespace.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ims_gateway.identity.keys import new_key
from ims_gateway_client import Client
from tests.integration.test_process import configuration

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
USER = int(re.search(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE)[1])
# Without capabilities, a file that is not writable is not, whoever owns it.
AS_USER = ["unshare", "--user", f"--map-user={USER}", f"--map-group={USER}"]
AS_ROOT = os.geteuid() == 0
PREFIX = AS_USER if AS_ROOT else []


def may_be_somebody_else() -> bool:
    """Say whether this machine lets root start a process as another user of its own."""
    try:
        return subprocess.run([*AS_USER, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@dataclass(frozen=True)
class Image:
    """What the image has in /opt/ims-gateway, and a folder that its user may write to."""

    folder: Path
    data: Path

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command of the image as its user, with the environment of a container."""
        return subprocess.Popen(
            [*PREFIX, self.folder / "bin" / arguments[0], *arguments[1:]],
            env={
                "PATH": f"{self.folder}/bin:{os.defpath}",
                "PYTHONDONTWRITEBYTECODE": "1",
                **environment,
            },
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run a command of the image to its end; returns its exit code and what it said."""
        process = self.start(*arguments, **environment)
        said = "".join(process.communicate(timeout=120))
        return process.returncode, said


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Build it as the Dockerfile does."""
    if AS_ROOT and not may_be_somebody_else():
        reason = "root may write everywhere, and user namespaces are not allowed here"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    base = tmp_path_factory.mktemp("image")
    folder, data = base / "ims-gateway", base / "data"
    build = re.search(
        r"^RUN (sh image/build\.sh) /opt/ims-gateway /build$", DOCKERFILE, re.MULTILINE
    )
    command = [*build[1].split(), str(folder), str(base / "build")]
    python = str(Path(sys.base_prefix) / "bin" / "python3")
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHON": python}, check=True)
    data.mkdir()
    subprocess.run(["chmod", "-R", "a-w", folder], check=True)
    yield Image(folder, data)
    subprocess.run(["chmod", "-R", "u+w", folder], check=True)


def test_every_stage_is_built_on_bytes_that_cannot_change():
    """A tag is somebody's to move; what was read before a release is what it is built on."""
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    base = re.search(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)[1]
    assert set(stages) == {"${PYTHON}"}
    assert re.fullmatch(r"python:[\w.-]+@sha256:[0-9a-f]{64}", base)


def test_server_starts_as_the_image_s_user_from_a_tree_it_cannot_write_to(image):
    """A container with a read-only root file system serves, and answers its health check."""
    key = new_key()[1]
    environment = configuration(image.data, key)
    wrote = image.run("python", "-c", f"open({str(image.folder / 'x')!r}, 'w')")
    assert wrote[0] != 0
    assert "PermissionError" in wrote[1]

    process = image.start("imsgw", "serve", **environment)
    try:
        line = json.loads(process.stderr.readline())
        assert line["event"] == "serving"
        target = f"127.0.0.1:{line['port']}"
        with Client(target, api_key=key) as client:
            assert client.who_am_i().tenant == "tenants/acme"
        healthy = {**environment, "IMSGW_LISTEN": target}
        assert image.run("imsgw", "health", **healthy)[0] == 0
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert image.run("imsgw", "health", **healthy)[0] == 1


def test_image_holds_what_the_lock_names_and_lists_it(image):
    """The SBOM is the lock's packages in the lock's versions, the gateway and its client."""
    listed = json.loads((image.folder / "sbom.cdx.json").read_text(encoding="utf-8"))
    found = {_name(each["name"]): each["version"] for each in listed["components"]}
    lock = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([\w.-]+)==([^ ]+)", lock, re.MULTILINE))
    locked = {_name(name): version for name, version in locked.items()}

    assert listed["metadata"]["component"]["name"] == "ims-gateway"
    assert found.pop("ims-gateway-client")
    assert found.items() <= locked.items()
    # A lock is for every platform; what is for Windows is not here.
    assert locked.keys() - found.keys() <= {"colorama"}


def test_image_has_no_compiler_no_installer_and_no_sources(image):
    """What an intruder would look for first."""
    present = {path.name for path in (image.folder / "bin").iterdir()}
    assert not present & {"pip", "pip3", "cc", "gcc", "activate", "grpcio-tools", "buf"}
    code, said = image.run("python", "-m", "pip", "--version")
    assert code != 0
    assert "No module named pip" in said
    assert {"imsgw", "imsctl"} <= present


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
