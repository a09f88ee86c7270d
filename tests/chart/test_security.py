"""Every pod that the chart makes is one that the restricted profile lets in."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.chart.rendering import pods
from tests.chart.restricted import containers, findings
from tests.chart.value_sets import SETS, objects

Spec = dict[str, Any]


def change(path: str, *, to: Any) -> Callable[[Spec], None]:
    """Return what sets a member of a pod's spec; numbers in the path count along lists."""

    def apply(spec: Spec) -> None:
        *way, last = path.split(".")
        place: Any = spec
        for step in way:
            place = place[int(step)] if step.isdigit() else place.setdefault(step, {})
        place[last] = to

    return apply


# One broken pod for every rule, and the finding that it is.
BROKEN = {
    "hostNetwork": ("hostNetwork", change("hostNetwork", to=True)),
    "hostPID": ("hostPID", change("hostPID", to=True)),
    "hostIPC": ("hostIPC", change("hostIPC", to=True)),
    "host path": ("volume", change("volumes", to=[{"name": "tmp", "hostPath": {"path": "/"}}])),
    "sysctl": ("sysctl", change("securityContext.sysctls", to=[{"name": "kernel.msgmax"}])),
    "pod as root": ("pod: runAsUser", change("securityContext.runAsUser", to=0)),
    "nobody said no root": ("runAsNonRoot", change("securityContext.runAsNonRoot", to=False)),
    "no seccomp": ("seccompProfile", change("securityContext.seccompProfile", to=None)),
    "unconfined": (
        "seccompProfile",
        change("securityContext.seccompProfile.type", to="Unconfined"),
    ),
    "container as root": (": runAsUser", change("containers.0.securityContext.runAsUser", to=0)),
    "container may be root": (
        "runAsNonRoot",
        change("containers.0.securityContext.runAsNonRoot", to=False),
    ),
    "privileged": ("privileged", change("containers.0.securityContext.privileged", to=True)),
    "escalation": (
        "allowPrivilegeEscalation",
        change("containers.0.securityContext.allowPrivilegeEscalation", to=None),
    ),
    "capabilities kept": ("drop", change("containers.0.securityContext.capabilities", to={})),
    "capability added": (
        "add",
        change("containers.0.securityContext.capabilities.add", to=["SYS_ADMIN"]),
    ),
    "root file system": (
        "readOnlyRootFilesystem",
        change("containers.0.securityContext.readOnlyRootFilesystem", to=False),
    ),
    "port of the host": ("hostPort", change("containers.0.ports", to=[{"hostPort": 1}])),
    "probe of elsewhere": (
        "host of a probe",
        change("containers.0.livenessProbe", to={"httpGet": {"host": "a", "port": 1}}),
    ),
    "procMount": ("procMount", change("containers.0.securityContext.procMount", to="Unmasked")),
    "AppArmor": (
        "appArmorProfile",
        change("containers.0.securityContext.appArmorProfile", to={"type": "Unconfined"}),
    ),
    "SELinux": (
        "seLinuxOptions",
        change("containers.0.securityContext.seLinuxOptions", to={"user": "system_u"}),
    ),
    "process of the host": (
        "windowsOptions",
        change("securityContext.windowsOptions", to={"hostProcess": True}),
    ),
    "token": ("automountServiceAccountToken", change("automountServiceAccountToken", to=True)),
    "links": ("enableServiceLinks", change("enableServiceLinks", to=None)),
}


@pytest.mark.parametrize("name", SETS)
def test_restricted_profile_lets_every_pod_in(name):
    """The gateway's, the migration's and the test's, whatever is switched on."""
    for pod in pods(objects(name)).values():
        assert findings(pod["spec"]) == []


def test_pods_have_an_end_of_memory():
    """A pod without one takes its node along."""
    for pod in pods(objects("full")).values():
        for container in containers(pod["spec"]):
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", BROKEN)
def test_lint_notices_what_it_looks_for(name):
    """A pod with one thing changed, as the chart could have it tomorrow."""
    expected, breaking = BROKEN[name]
    for pod in pods(objects("full")).values():
        spec = copy.deepcopy(pod["spec"])
        breaking(spec)
        assert any(expected in finding for finding in findings(spec)), findings(spec)
