"""Whatever the values: objects that Kubernetes takes, that fit together, and say what was meant."""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain

import helm_python
import pytest
import yaml

from ims_gateway.settings import LONGEST_SETTLEMENT_SECONDS, Settings
from ims_gateway.tenancy.files import TenantFile
from ims_gateway.tenancy.grant_file import GrantsFile
from ims_gateway.tenancy.reading import parse
from tests.chart import kinds
from tests.chart.rendering import (
    CHART,
    RELEASE,
    chart,
    minimal,
    objects_of,
    one,
    pods,
    values_of,
)
from tests.chart.value_sets import HOSTILE, SETS, TENANT, hostile_grants, objects, texts

DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")


every_set = pytest.mark.parametrize("name", SETS)


@pytest.mark.parametrize("version", kinds.VERSIONS)
@every_set
def test_every_object_is_one_of_kubernetes(name, version):
    """The schemas of three minor versions have nothing against any object."""
    for each in objects(name):
        assert kinds.faults(each, version) == [], each["metadata"]["name"]


def test_schemas_find_a_fault_below_and_a_member_that_is_not_there():
    """The check above would notice."""
    deployment = one(objects_of(minimal()), "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePulPolicy"] = "Always"
    deployment["spec"]["replicas"] = "2"
    for version in kinds.VERSIONS:
        (first, second) = sorted(kinds.faults(deployment, version))
        assert "replicas" in first
        assert "imagePulPolicy" in second


@every_set
def test_objects_fit_together(name):
    """Names are unique, labels valid, selectors select, volumes are there, nothing is set twice."""
    found = objects(name)
    counted = Counter((each["kind"], each["metadata"]["name"]) for each in found)
    assert max(counted.values()) == 1
    for each in found:
        assert DNS_LABEL.fullmatch(each["metadata"]["name"])
        for value in each["metadata"].get("labels", {}).values():
            assert LABEL_VALUE.fullmatch(value)
    deployment = one(found, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for kind in ("Service", "PodDisruptionBudget", "PodMonitor"):
        for each in (each for each in found if each["kind"] == kind):
            selector = each["spec"]["selector"]
            assert selector.get("matchLabels", selector).items() <= labels.items()
    own_maps = {name for kind, name in counted if kind == "ConfigMap"}
    for pod in pods(found).values():
        _check_pod(pod["spec"], own_maps)


def _check_pod(spec, own_maps):
    volumes = [volume["name"] for volume in spec["volumes"]]
    assert len(volumes) == len(set(volumes))
    for container in [*spec.get("initContainers", ()), *spec["containers"]]:
        mounts = container.get("volumeMounts", ())
        assert {mount["name"] for mount in mounts} <= set(volumes)
        assert len({mount["mountPath"] for mount in mounts}) == len(mounts)
        # A file that is mounted by itself never changes.
        assert not any("subPath" in mount for mount in mounts)
    sources = chain(*(v["projected"]["sources"] for v in spec["volumes"] if "projected" in v))
    for source in sources:
        name = source["configMap"]["name"]
        assert name in own_maps or not name.startswith(RELEASE + "-ims-gateway")


@every_set
def test_only_the_gateways_pods_are_behind_its_services(name):
    """Neither a migration nor a test gets calls, or the gateway's network policy."""
    found = objects(name)
    for kind in ("Service", "NetworkPolicy", "PodDisruptionBudget"):
        for each in (each for each in found if each["kind"] == kind):
            spec = each["spec"]
            wanted = spec.get("podSelector") or spec["selector"]
            wanted = wanted.get("matchLabels", wanted)
            component = wanted["app.kubernetes.io/component"]
            for pod in pods(found).values():
                labels = pod["metadata"]["labels"]
                if labels["app.kubernetes.io/component"] != component:
                    assert not wanted.items() <= labels.items()


def test_helm_finds_nothing_to_say_about_the_chart():
    """`helm lint --strict`, for the least and for all values."""
    for name in ("ci/minimal-values.yaml", "ci/full-values.yaml", "values-dev.yaml"):
        report = helm_python.lint(CHART, values_of(name), strict=True)
        assert report["errors"] == []
        severe = [each for each in report["messages"] if each["severity"] > 1]
        assert severe == []


@pytest.mark.parametrize("release", ["r" * 53, "a", "ims-gateway"])
def test_names_fit_whatever_the_release_is_called(release):
    """The longest name of a release still leaves room for what is put behind it."""
    for each in objects_of(minimal(test={"apiKeySecretName": "key"}), name=release):
        assert len(each["metadata"]["name"]) <= 63
        assert kinds.faults(each, kinds.VERSIONS[-1]) == []


def test_hostile_texts_arrive_to_the_letter():
    """What a text looks like in YAML, in a template or to the kubelet changes nothing."""
    found = objects("hostile texts in files")
    text = one(found, "ConfigMap", "-tenants")["data"]["acme.yaml"]
    grants = parse(text, "acme.yaml", TenantFile).grants
    expected = hostile_grants()[0]["read"]
    assert [list(grant.read) for grant in grants] == [expected]
    text = one(found, "ConfigMap", "-platform")["data"]["grants.yaml"]
    shared = parse(text, "grants.yaml", GrantsFile).grants
    assert [list(grant.write) for grant in shared] == [expected]
    annotations = one(objects("hostile texts around"), "Deployment")["spec"]["template"]
    for number, hostile in enumerate(HOSTILE):
        assert annotations["metadata"]["annotations"][f"example.com/a{number}"] == hostile
    beside = one(objects("hooks"), "ConfigMap", "beside")["data"]
    assert [beside[f"k{number}"] for number in range(len(HOSTILE))] == list(HOSTILE)


def test_tenants_file_as_text_is_kept_to_the_letter():
    """Comments and quotes of its owners stay."""
    data = one(objects("tenant as text"), "ConfigMap", "-tenants")["data"]
    assert data["globex.yaml"] == SETS["tenant as text"]["tenants"]["globex"]


def test_large_numbers_stay_whole():
    """No 5e+09 in a file or variable, which is how numbers leave Helm's templates otherwise."""
    found = objects("large numbers")
    text = one(found, "ConfigMap", "-tenants")["data"]["acme.yaml"]
    assert parse(text, "acme.yaml", TenantFile).limits[0].max_micros == 10**15
    (container,) = one(found, "Deployment")["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each.get("value") for each in container["env"]}
    assert variables["IMSGW_DECISION_STORE_ROWS"] == "100000000"
    assert variables["IMSGW_DECISION_LOG_MAX_BYTES"] == "1000000000000"


def template(values):
    """Return the pod's template."""
    return one(objects_of(values), "Deployment")["spec"]["template"]


def test_pods_are_replaced_for_what_is_read_at_a_start_and_for_nothing_else():
    """Accounts and settings change the template; tenants and what else is reloaded do not."""
    before = template(minimal())
    reloaded = {
        "tenants": {"globex": TENANT},
        "operators": [{"name": "alice", "spiffe_ids": ["spiffe://a/b"]}],
        "grants": {"grants": []},
        "prices": {"currency": "CNY", "prices": [{"algorithm": "*", "micros": 1}]},
        "issuers": [
            {"name": "a", "issuer": "https://a", "audiences": ["a"], "jwks_url": "https://a/k"}
        ],
    }
    for key, value in reloaded.items():
        assert template(minimal(**{key: value})) == before, key
    anew = {
        "accounts": [{"name": "main", "region": "cn-shanghai", "max_in_flight": 3}],
        "settings": {"retention_days": 60},
        "database": {"secretName": "other"},
    }
    for key, value in anew.items():
        assert template(minimal(**{key: value})) != before, key


def test_grace_period_covers_the_whole_drain():
    """The kubelet kills no pod that still may settle a paid call."""
    for delay, drain, timeout in ((0, 0, 20), (5, 30, 20), (12.5, 60.2, 20), (1, 10, 90.5)):
        changes = {"drain": {"delaySeconds": delay, "seconds": drain}}
        if timeout != Settings.model_fields["submit_timeout_seconds"].default:
            changes["settings"] = {"submit_timeout_seconds": timeout}
        spec = template(minimal(**changes))["spec"]
        told = {
            each["name"].removeprefix("IMSGW_").lower(): each.get("value", "sqlite:///" + "x" * 32)
            for each in spec["containers"][0]["env"]
            if each["name"].startswith("IMSGW_")
        }
        needed = Settings(**told).shutdown_seconds
        assert needed == delay + max(drain, timeout) + LONGEST_SETTLEMENT_SECONDS
        assert needed + 5 <= spec["terminationGracePeriodSeconds"] <= needed + 7


def test_migration_needs_nothing_of_the_release():
    """Before an install there is nothing: the Job refers to hooks before it and to Secrets."""
    found = objects("full")
    hooks = [e for e in found if "helm.sh/hook" in e["metadata"].get("annotations", {})]
    first = {e["kind"]: e for e in hooks if e["metadata"]["annotations"]["helm.sh/hook"] != "test"}
    assert set(first) == {"ServiceAccount", "NetworkPolicy", "Job"}
    weights = {
        kind: int(each["metadata"]["annotations"]["helm.sh/hook-weight"])
        for kind, each in first.items()
    }
    assert weights["ServiceAccount"] == weights["NetworkPolicy"] < weights["Job"]
    for each in first.values():
        annotations = each["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert "before-hook-creation" in annotations["helm.sh/hook-delete-policy"]
    spec = first["Job"]["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == first["ServiceAccount"]["metadata"]["name"]
    assert {next(iter(v.keys() - {"name"})) for v in spec["volumes"]} == {"emptyDir", "secret"}
    assert not any(
        "configMapKeyRef" in e.get("valueFrom", {}) for e in spec["containers"][0]["env"]
    )


def test_nobody_is_let_in_or_out_who_is_not_named():
    """The rules of the least values, and that of the kubelet's port there is none."""
    spec = one(objects_of(minimal()), "NetworkPolicy", "ims-gateway")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    ingress = {rule["ports"][0]["port"]: rule["from"] for rule in spec["ingress"]}
    assert set(ingress) == {"grpc", "metrics"}
    assert all(ingress.values())
    ports = [[port["port"] for port in rule["ports"]] for rule in spec["egress"]]
    assert ports == [[53, 53], [5432], [443]]
    closed = one(objects("nobody is let in"), "NetworkPolicy", "ims-gateway")["spec"]
    assert not closed["ingress"]


def test_scalers_exclude_each_other():
    """One scaler at most, and a Deployment that leaves the number to it."""
    for kind, expected in (("none", set()), ("hpa", {"HorizontalPodAutoscaler"})):
        found = objects_of(minimal(autoscaling={"kind": kind}))
        scalers = {"HorizontalPodAutoscaler", "ScaledObject"} & {e["kind"] for e in found}
        assert scalers == expected
        assert ("replicas" in one(found, "Deployment")["spec"]) == (kind == "none")
    keda = objects("keda")
    assert one(keda, "ScaledObject")["spec"]["scaleTargetRef"]["name"] == "ims-ims-gateway"
    assert "replicas" not in one(keda, "Deployment")["spec"]


def test_rules_and_dashboards_are_the_files_themselves():
    """Braces in them are for Prometheus and Grafana, and arrive there."""
    found = objects("rules and dashboards")
    dashboards = sorted((CHART / "dashboards").glob("*.json"))
    maps = [each for each in found if "-dashboard-" in each["metadata"]["name"]]
    assert {key: text for each in maps for key, text in each["data"].items()} == {
        path.name: path.read_text(encoding="utf-8").rstrip("\n") for path in dashboards
    }
    alerts = CHART / "rules" / "alerts.yaml"
    if alerts.exists():
        spec = one(found, "PrometheusRule")["spec"]
        assert spec == yaml.safe_load(alerts.read_text(encoding="utf-8"))


def test_monitor_of_services_finds_the_headless_one_alone():
    """With both of them each pod would be read twice."""
    found = objects("ServiceMonitor")
    wanted = one(found, "ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    services = [each for each in found if each["kind"] == "Service"]
    (chosen,) = (each for each in services if wanted <= each["metadata"]["labels"].items())
    assert chosen["spec"]["clusterIP"] == "None"
    assert "metrics" in {port["name"] for port in chosen["spec"]["ports"]}


@pytest.mark.parametrize("name", ["minimal", "full", "dev", "hostile texts around"])
def test_helm_would_install_it(name):
    """Not the templates alone: Helm sorts hooks and manifests, and has nothing against them."""
    with helm_python.Config(namespace="media", storage_driver="memory") as helm:
        done = helm.install(chart(), RELEASE, SETS[name], dry_run="client")
    assert done["status"] == "pending-install"
    assert "kind: Deployment" in done["manifest"]


def test_package_has_all_that_the_folder_has(tmp_path):
    """What .helmignore leaves out is not missed by a template."""
    archive = helm_python.package(CHART, destination=tmp_path)
    with helm_python.Chart.load(archive) as packed:
        values = SETS["rules and dashboards"]
        assert packed.render(values, name=RELEASE, namespace="media") == texts(
            "rules and dashboards"
        )


def test_role_for_rrsa_stands_on_the_service_account():
    """The annotation that ack-pod-identity-webhook looks for."""
    account = one(objects("RRSA"), "ServiceAccount", "ims-gateway")
    assert account["metadata"]["annotations"] == {
        "pod-identity.alibabacloud.com/role-name": "ims-gateway"
    }


def test_secrets_are_named_and_never_made():
    """No set of values, but for the development's own objects, has a Secret in it."""
    for name in SETS.keys() - {"dev"}:
        assert not [each for each in objects(name) if each["kind"] == "Secret"]
    text = "".join(texts("full").values())
    assert "postgresql://" not in text


def test_notes_say_how_to_send_the_first_job():
    """The command, the address, and what is not safe about the values."""
    for name in SETS:
        notes = texts(name)["ims-gateway/templates/NOTES.txt"]
        assert "imsctl submit cover --input oss://BUCKET/in.mp4 --wait" in notes
        assert "-headless.media:50051" in notes
        plain = name not in ("TLS", "mTLS", "certificate", "full")
        assert ("in plain text" in notes) == plain
