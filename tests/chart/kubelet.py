"""What the kubelet does with a pod, on this machine: volumes on disk, variables, arguments.

Nothing is mounted: a pod's own paths (`/etc/ims-gateway`) are folders below `root`, and where a
variable, an argument or a file of a ConfigMap has one of them, it has the one below `root`. Names
of Services become addresses of this machine. All else is as it was rendered.
"""

from __future__ import annotations

import base64
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chart.rendering import NAMESPACE, Objects

FOLDERS = ("/etc/ims-gateway", "/var/lib/ims-gateway")


@dataclass
class Kubelet:
    """Where pods are put, and the objects that they may refer to."""

    root: Path
    objects: Objects

    def find(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object; a pod that refers to one that is not there never starts."""
        for each in self.objects:
            if (each["kind"], each["metadata"]["name"]) == (kind, name):
                return each
        raise AssertionError(f"there is no {kind} {name}")

    def publish(self, pod: dict[str, Any]) -> None:
        """Bring the pod's volumes to what the objects are now, each at once."""
        for volume in pod["spec"]["volumes"]:
            folder = self.root / "volumes" / volume["name"]
            folder.mkdir(parents=True, exist_ok=True)
            if "emptyDir" not in volume:
                swap(folder, self._files(volume))
        for container in [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]:
            for mount in container.get("volumeMounts", ()):
                assert "subPath" not in mount
                place = self.root / mount["mountPath"].lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                if not place.is_symlink():
                    place.symlink_to(self.root / "volumes" / mount["name"])

    def command(self, container: dict[str, Any], entry_point: list[str]) -> list[str]:
        """Return what the container runs, where its image has this entry point."""
        command = container.get("command", entry_point)
        return [self._moved(word) for word in [*command, *container.get("args", ())]]

    def environment(self, container: dict[str, Any]) -> dict[str, str]:
        """Return the container's variables."""
        known: dict[str, str] = {}
        for variable in container.get("env", ()):
            if "valueFrom" in variable:
                text = self._referred(variable["valueFrom"])
            else:
                text = _expanded(variable.get("value", ""), known)
            known[variable["name"]] = self._moved(text)
        return known

    def _referred(self, source: dict[str, Any]) -> str:
        if "fieldRef" in source:
            return {"metadata.name": "pod-1", "metadata.namespace": NAMESPACE}[
                source["fieldRef"]["fieldPath"]
            ]
        reference = source["secretKeyRef"]
        return data_of(self.find("Secret", reference["name"]))[reference["key"]].decode()

    def _files(self, volume: dict[str, Any]) -> dict[str, bytes]:
        if "secret" in volume:
            files = data_of(self.find("Secret", volume["secret"]["secretName"]))
            chosen = volume["secret"].get("items")
            return {each["path"]: files[each["key"]] for each in chosen} if chosen else files
        files = {}
        for source in volume["projected"]["sources"]:
            found = data_of(self.find("ConfigMap", source["configMap"]["name"]))
            files |= {name: self._moved(text.decode()).encode() for name, text in found.items()}
        return files

    def _moved(self, text: str) -> str:
        for folder in FOLDERS:
            text = text.replace(folder, f"{self.root}{folder}")
        for service in (each for each in self.objects if each["kind"] == "Service"):
            name = f"{service['metadata']['name']}.{NAMESPACE}:"
            text = text.replace(name, "127.0.0.1:")
        return text


def _expanded(text: str, known: dict[str, str]) -> str:
    """Put variables in for $(NAME); $$ is a $, and what is not known stays."""

    def put(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return known.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)", put, text)


def data_of(found: dict[str, Any]) -> dict[str, bytes]:
    """Return the files that a Secret or ConfigMap is."""
    encoded = {name: base64.b64decode(text) for name, text in _binary(found).items()}
    texts = found.get("stringData", {}) if found["kind"] == "Secret" else found.get("data", {})
    return encoded | {name: text.encode() for name, text in texts.items()}


def _binary(found: dict[str, Any]) -> dict[str, str]:
    return dict(found.get("data" if found["kind"] == "Secret" else "binaryData", {}))


def swap(folder: Path, files: dict[str, bytes]) -> None:
    """Make a volume hold these files: a new folder beside the old one, and one link changed."""
    data, before = folder / "..data", None
    if data.is_symlink():
        before = folder / data.readlink()
        if {path.name: path.read_bytes() for path in before.iterdir()} == files:
            return
    new = folder / f"..{secrets.token_hex(4)}"
    new.mkdir()
    for name, content in files.items():
        (new / name).write_bytes(content)
    (folder / "..data_tmp").symlink_to(new.name)
    (folder / "..data_tmp").rename(data)
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    for path in folder.iterdir():
        if not path.name.startswith("..") and path.name not in files:
            path.unlink()
    if before is not None:
        shutil.rmtree(before)
