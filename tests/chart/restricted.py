"""Lint of pods: Kubernetes' restricted profile, and what else nobody who attacks one should find.

The profile's rules are those of https://kubernetes.io/docs/concepts/security/pod-security-standards/.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "projected", "secret"} | {
    "persistentVolumeClaim"
}
SYSCTLS = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies"}
SECCOMP = ({"type": "RuntimeDefault"}, {"type": "Localhost"})


def findings(spec: dict[str, Any]) -> list[str]:
    """Return what is wrong with a pod's spec."""
    return [*_of_pod(spec), *(f for each in containers(spec) for f in _of_container(spec, each))]


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all containers of a pod's spec, those that start first among them."""
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [each for kind in kinds for each in spec.get(kind, ())]


def _of_pod(spec: dict[str, Any]) -> Iterator[str]:
    for member in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(member):
            yield member
    for volume in spec.get("volumes", ()):
        if kinds := volume.keys() - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is a {kinds}"
    security = spec.get("securityContext", {})
    yield from _of_user(security, "pod")
    for sysctl in security.get("sysctls", ()):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    # Beyond the profile: no token of the API server, no addresses of Services in the environment.
    if spec.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken"
    if spec.get("enableServiceLinks") is not False:
        yield "enableServiceLinks"


def _of_container(spec: dict[str, Any], container: dict[str, Any]) -> Iterator[str]:
    security, pod = container.get("securityContext", {}), spec.get("securityContext", {})
    where = container["name"]
    yield from _of_user(security, where)
    if security.get("privileged"):
        yield f"{where}: privileged"
    if security.get("allowPrivilegeEscalation") is not False:
        yield f"{where}: allowPrivilegeEscalation"
    capabilities = security.get("capabilities", {})
    if capabilities.get("drop") != ["ALL"]:
        yield f"{where}: capabilities.drop"
    if set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
        yield f"{where}: capabilities.add"
    if not security.get("runAsNonRoot", pod.get("runAsNonRoot")):
        yield f"{where}: runAsNonRoot"
    if security.get("seccompProfile", pod.get("seccompProfile")) not in SECCOMP:
        yield f"{where}: seccompProfile"
    if any("hostPort" in port for port in container.get("ports", ())):
        yield f"{where}: hostPort"
    if any("host" in probe.get("httpGet", {}) for probe in _probes(container)):
        yield f"{where}: host of a probe"
    # Beyond the profile: nothing to be written to, and an end of memory.
    if security.get("readOnlyRootFilesystem") is not True:
        yield f"{where}: readOnlyRootFilesystem"


def _of_user(security: dict[str, Any], where: str) -> Iterator[str]:
    if security.get("runAsUser") == 0:
        yield f"{where}: runAsUser"
    if security.get("runAsNonRoot") is False:
        yield f"{where}: runAsNonRoot"
    if security.get("procMount", "Default") != "Default":
        yield f"{where}: procMount"
    if "appArmorProfile" in security and security["appArmorProfile"]["type"] == "Unconfined":
        yield f"{where}: appArmorProfile"
    if security.get("seLinuxOptions", {}).keys() & {"user", "role"}:
        yield f"{where}: seLinuxOptions"
    if security.get("windowsOptions", {}).get("hostProcess"):
        yield f"{where}: windowsOptions"


def _probes(container: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = ("startupProbe", "livenessProbe", "readinessProbe")
    hooks = container.get("lifecycle", {}).values()
    return [container[kind] for kind in kinds if kind in container] + [*hooks]
