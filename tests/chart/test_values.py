"""Values that cannot be meant are refused before anything is made, with the name of the value."""

from __future__ import annotations

import helm_python
import pytest
import yaml

from ims_gateway.settings import Settings
from tests.chart.rendering import CHART, merged, minimal, objects_of, one, values_of

# What is laid over the least values, and where the schema says that the fault is.
REFUSED = {
    "misspelt at the top": ({"replica": 3}, "replica"),
    "misspelt below": (
        {"database": {"secretname": "x"}},
        "/database': additional properties 'secretname'",
    ),
    "misspelt in a tenant": (
        {"tenants": {"acme": {"limts": []}}},
        "/tenants/acme': additional properties 'limts'",
    ),
    "misspelt in a grant": (
        {
            "tenants": {
                "acme": {"grants": [{"subject": "role/a", "actions": ["get"], "reed": ["*"]}]}
            }
        },
        "/tenants/acme/grants/0': additional properties 'reed'",
    ),
    "misspelt in an account": (
        {"accounts": [{"name": "main", "regoin": "cn-shanghai"}]},
        "/accounts/0': additional properties 'regoin'",
    ),
    "misspelt in a limit": (
        {"tenants": {"acme": {"limits": [{"id": "a", "kind": "day", "maximum": 3}]}}},
        "/tenants/acme/limits/0': additional properties 'maximum'",
    ),
    "limit without a kind": (
        {"tenants": {"acme": {"limits": [{"id": "a", "max": 3}]}}},
        "/tenants/acme/limits/0': missing property 'kind'\n",
    ),
    "limit of no kind": (
        {"tenants": {"acme": {"limits": [{"id": "a", "kind": "daily", "max": 3}]}}},
        "/tenants/acme/limits/0/kind'",
    ),
    "misspelt setting": ({"settings": {"retention_day": 3}}, "/settings': additional properties"),
    "setting that the chart decides": ({"settings": {"listen": "0.0.0.0:1"}}, "'listen'"),
    "no secret of the database": ({"database": {"secretName": ""}}, "/database/secretName'"),
    "no secret of the pepper": ({"keyPepper": {"secretName": ""}}, "/keyPepper/secretName'"),
    "no account": ({"accounts": []}, "/accounts'"),
    "text for a number": ({"replicas": "2"}, "/replicas'"),
    "number for a text": ({"database": {"secretName": 7}}, "/database/secretName'"),
    "number for an id": (
        {
            "tenants": {
                "acme": {
                    "principals": [{"name": "a", "keys": [{"id": 12345678, "hash": "0" * 64}]}]
                }
            }
        },
        "/tenants/acme/principals/0/keys/0/id'",
    ),
    "text for a switch": ({"networkPolicy": {"enabled": "false"}}, "/networkPolicy/enabled'"),
    "setting out of range": (
        {"settings": {"submit_timeout_seconds": 600}},
        "/settings/submit_timeout_seconds'",
    ),
    "setting of another type": (
        {"settings": {"retention_days": "90"}},
        "/settings/retention_days'",
    ),
    "port out of range": ({"ports": {"grpc": 70000}}, "/ports/grpc'"),
    "unknown scaler": ({"autoscaling": {"kind": "HPA"}}, "/autoscaling/kind'"),
    "keda without triggers": ({"autoscaling": {"kind": "keda"}}, "/autoscaling/triggers'"),
    "unknown monitor": ({"metrics": {"monitor": {"kind": "podmonitor"}}}, "/metrics/monitor/kind'"),
    "route to nowhere": ({"grpcRoute": {"enabled": True}}, "/grpcRoute/parentRefs'"),
    "certificate of nobody": (
        {"tls": {"certificate": {"enabled": True}}},
        "/tls/certificate/issuerRef'",
    ),
    "peer misspelt": (
        {"networkPolicy": {"clients": [{"podselector": {}}]}},
        "/networkPolicy/clients/0'",
    ),
    "peer of nothing": ({"networkPolicy": {"clients": [{}]}}, "/networkPolicy/clients/0'"),
    "name of a tenant": ({"tenants": {"Acme": {}}}, "invalid propertyName 'Acme'"),
    "name with a line in it": ({"fullnameOverride": "a\nkind: Secret"}, "/fullnameOverride'"),
    "image with a quote": ({"image": {"repository": 'a" b'}}, "/image/repository'"),
    "tag with a template": ({"image": {"tag": "{{ .Values }}"}}, "/image/tag'"),
    "secret with a quote": (
        {"upstream": {"accessKeySecretName": 'a"'}},
        "/upstream/accessKeySecretName'",
    ),
    "key with a line in it": ({"keyPepper": {"key": "a\nb"}}, "/keyPepper/key'"),
    "root": ({"podUser": {"runAsUser": 0}}, "/podUser/runAsUser'"),
    "disruptions of everybody": (
        {"podDisruptionBudget": {"maxUnavailable": "100%"}},
        "maxUnavailable'",
    ),
    "time in days": ({"tls": {"certificate": {"duration": "90d"}}}, "/tls/certificate/duration'"),
    "label that is none": ({"commonLabels": {"team": "a b"}}, "/commonLabels/team'"),
    "number as a label": ({"podLabels": {"a": 1}}, "/podLabels/a'"),
    "variable misspelt": ({"extraEnv": [{"name": "A", "valeu": "x"}]}, "/extraEnv/0'"),
    "input that is none": ({"test": {"input": "in.mp4 --wait"}}, "/test/input'"),
}
# What templates refuse, since a schema cannot.
UNFIT = {
    "variable of the chart's": (
        {"extraEnv": [{"name": "IMSGW_KEY_PEPPER", "value": "x"}]},
        "extraEnv[0]: IMSGW_KEY_PEPPER is set by the chart",
    ),
    "tenant of another name": (
        {"tenants": {"acme": {"name": "globex"}}},
        "tenants.acme.name: must be acme",
    ),
    "account that is not there": (
        {"tenants": {"acme": {"account": "spare"}}},
        "tenants.acme.account: spare is not one of accounts",
    ),
    "too much for a ConfigMap": (
        {"tenants": {"globex": "x" * 1_100_000}},
        "put them into ConfigMaps of your own, and their names into configMaps.tenants",
    ),
    "text that would become another": (
        {"grants": {"grants": [{"subject": "role/a", "actions": ["get"], "read": ["a\x85b"]}]}},
        "grants: a text in it holds a control character",
    ),
    "text that YAML cannot hold": (
        {"tenants": {"acme": {"time_zone": "a\x7fb"}}},
        "tenants: a text in it holds a control character",
    ),
    "authorities without TLS": (
        {"tls": {"clientCa": {"secretName": "clients"}}},
        "tls.clientCa.secretName: needs",
    ),
    "test without a certificate": (
        {
            "tls": {"secretName": "a", "clientCa": {"secretName": "b"}},
            "test": {"apiKeySecretName": "c"},
        },
        "test.certificateSecretName:",
    ),
    "more at least than at most": (
        {"autoscaling": {"minReplicas": 11}},
        "autoscaling.minReplicas:",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_schema_names_the_value_at_fault(name):
    """Wrong values end an install before anything is made."""
    changes, named = REFUSED[name]
    with pytest.raises(helm_python.HelmValuesError) as caught:
        objects_of(minimal(**changes))
    assert named in str(caught.value)


@pytest.mark.parametrize("name", UNFIT)
def test_template_names_the_value_at_fault(name):
    """Likewise, where one value has to fit another."""
    changes, named = UNFIT[name]
    with pytest.raises(helm_python.HelmRenderError) as caught:
        objects_of(minimal(**changes))
    assert named in str(caught.value)


@pytest.mark.parametrize("key", ["database", "keyPepper", "accounts", "tenants"])
def test_what_is_required_is_named_where_it_is_missing(key):
    """Each of the four that a release cannot do without."""
    values = minimal()
    del values[key]
    with pytest.raises(helm_python.HelmValuesError, match=f"/{key}"):
        objects_of(values)


def test_chart_may_be_part_of_another():
    """Helm adds `global` to a chart's values then."""
    objects_of(minimal() | {"global": {"anything": 1}})


def test_every_setting_of_the_server_can_be_set_or_has_a_value_of_its_own():
    """A new setting is part of the chart after `make docs`, or this fails."""
    (container,) = one(
        objects_of(
            merged(
                values_of("ci/full-values.yaml"),
                {
                    "settings": {"max_message_bytes": 4096},
                    "tls": {"certificate": {"enabled": True}},
                },
            )
        ),
        "Deployment",
    )["spec"]["template"]["spec"]["containers"]
    told = {variable["name"] for variable in container["env"]}
    assert "IMSGW_MAX_MESSAGE_BYTES" in told
    schema = yaml.safe_load((CHART / "values.schema.json").read_text(encoding="utf-8"))
    offered = {f"IMSGW_{name.upper()}" for name in schema["$defs"]["Settings"]["properties"]}
    assert {f"IMSGW_{name.upper()}" for name in Settings.model_fields} <= offered | told


def test_comments_name_every_value():
    """No value is left without a description, and so without a row of the README."""
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    for key in defaults:
        assert f"| `{key}" in readme, key
