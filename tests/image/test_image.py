"""The image: what its Dockerfile builds, built and started as it says, without a container engine.

The steps are those of image/build.sh, which the Dockerfile runs; the user is the Dockerfile's where
the tests run as root, and nobody may write to what was built.
"""

from __future__ import annotations

import json
import os
import re
import shutil
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
AS_ROOT = os.geteuid() == 0


@dataclass(frozen=True)
class Image:
    """What the image has in /opt/ims-gateway, and a folder that its user may write to."""

    folder: Path
    data: Path

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command of the image as its user, with the environment of a container."""
        return subprocess.Popen(
            [self.folder / "bin" / arguments[0], *arguments[1:]],
            env={"PATH": f"{self.folder}/bin", "PYTHONDONTWRITEBYTECODE": "1", **environment},
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **({"user": USER, "group": USER, "extra_groups": []} if AS_ROOT else {}),
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run a command of the image to its end; returns its exit code and what it said."""
        process = self.start(*arguments, **environment)
        said = "".join(process.communicate(timeout=120))
        return process.returncode, said


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Build it as the Dockerfile does."""
    base = tmp_path_factory.mktemp("image")
    folder, data = base / "ims-gateway", base / "data"
    build = re.search(
        r"^RUN (sh image/build\.sh) /opt/ims-gateway /build$", DOCKERFILE, re.MULTILINE
    )
    command = [*build[1].split(), str(folder), str(base / "build")]
    environment = {**os.environ, "PYTHON": _python(base)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    data.mkdir()
    if AS_ROOT:
        os.chown(data, USER, USER)
        # What pytest makes is closed to others.
        for place in (base, base.parent, base.parent.parent):
            place.chmod(0o711)
    else:
        subprocess.run(["chmod", "-R", "a-w", folder], check=True)
    yield Image(folder, data)
    subprocess.run(["chmod", "-R", "u+w", folder], check=True)


def _python(base: Path) -> str:
    """Return a Python that the image's user may run: a home folder may be closed to it."""
    if not AS_ROOT:
        return str(Path(sys.base_prefix) / "bin" / "python3")
    copy = base / "python"
    shutil.copytree(
        sys.base_prefix,
        copy,
        symlinks=True,
        ignore=shutil.ignore_patterns("site-packages", "test", "__pycache__", "*.a"),
    )
    return str(copy / "bin" / "python3")


def test_server_starts_as_the_image_s_user_from_a_tree_it_cannot_write_to(image):
    """A container with a read-only root file system serves, and answers its health check."""
    key = new_key()[1]
    environment = configuration(image.data, key)
    for path in image.data.rglob("*"):
        path.chmod(path.stat().st_mode | 0o444)
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
    ours = {"ims-gateway", "ims-gateway-client"}

    assert ours <= found.keys()
    assert {name: found[name] for name in found.keys() - ours}.items() <= locked.items()
    # A lock is for every platform; what is for another one is not here.
    assert locked.keys() - found.keys() <= {"colorama", "pywin32", "tzdata"}


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
