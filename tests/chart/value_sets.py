"""Sets of values: every switch on and off, and values that somebody chose to do harm."""

from __future__ import annotations

from functools import cache

from tests.chart.rendering import Objects, Values, minimal, objects_in, rendered, values_of

TENANT = minimal()["tenants"]["acme"]
HOSTILE = (
    'a"b',
    "it's",
    "line\nbreak",
    "tab\there",
    "\x00\x01\x1b[2J",
    "{{ .Values.database.secretName }}",
    '{{ fail "no" }}',
    "}}",
    "- yes",
    "key: value",
    "# no comment",
    "yes",
    "no",
    "null",
    "~",
    "0o17",
    "0x1F",
    "012",
    "1_000",
    "1e3",
    "12:30:45",
    "2027-01-01",
    ".inf",
    "!!python/object:os.system x",
    "&anchor",
    "*alias",
    "<<",
    "=",
    "%TAG",
    "@at",
    "`tick`",
    "$(POD_NAME)",
    "$$(POD_NAME)",
    " leading",
    "trailing ",
    "---",
    "...",
    "\N{LINE SEPARATOR}\N{ZERO WIDTH NO-BREAK SPACE}",
    "喵\N{GRINNING FACE}",
    "x" * 10_000,
)


def hostile_grants() -> list[dict[str, object]]:
    """Return grants with every hostile text in them that a pattern may be."""
    texts = [text for text in HOSTILE if not any(ord(letter) < 32 for letter in text)]
    return [{"subject": "role/editor", "actions": ["submit"], "read": texts, "write": texts}]


def own_pods() -> dict[str, object]:
    """Return hooks as somebody uses them who needs all of them."""
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    proxy = {"name": "proxy", "image": "proxy:1", "securityContext": security}
    return {
        "extraEnv": [{"name": "TEXT", "value": text} for text in HOSTILE],
        "extraVolumes": [{"name": "scratch", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        "extraInitContainers": [proxy | {"restartPolicy": "Always"}],
        "extraContainers": [proxy | {"name": "other"}],
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "beside"}, "data": data}
            for data in [{f"k{number}": text for number, text in enumerate(HOSTILE)}]
        ],
    }


SETS: dict[str, Values] = {
    "minimal": minimal(),
    "full": values_of("ci/full-values.yaml"),
    "dev": values_of("values-dev.yaml"),
    "no policy of the network": minimal(networkPolicy={"enabled": False}),
    "nobody is let in": minimal(networkPolicy={"clients": [], "prometheus": []}),
    "no migration": minimal(migration={"enabled": False}),
    "no budget of disruptions": minimal(podDisruptionBudget={"enabled": False}),
    "budget in percent": minimal(podDisruptionBudget={"maxUnavailable": "30%"}),
    "hpa": minimal(autoscaling={"kind": "hpa"}),
    "hpa with a metric": minimal(
        autoscaling={
            "kind": "hpa",
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": "imsgateway_queue_length"},
                        "target": {"type": "AverageValue", "averageValue": "10"},
                    },
                }
            ],
        }
    ),
    "keda": minimal(
        autoscaling={
            "kind": "keda",
            "triggers": [
                {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}},
            ],
        }
    ),
    "PodMonitor": minimal(metrics={"monitor": {"kind": "PodMonitor"}}),
    "ServiceMonitor": minimal(metrics={"monitor": {"kind": "ServiceMonitor"}}),
    "rules and dashboards": minimal(
        metrics={"rules": {"enabled": True}, "dashboards": {"enabled": True}}
    ),
    "route": minimal(grpcRoute={"enabled": True, "parentRefs": [{"name": "internal"}]}),
    "certificate": minimal(
        tls={"certificate": {"enabled": True, "issuerRef": {"name": "internal"}}}
    ),
    "TLS": minimal(tls={"secretName": "tls"}, test={"apiKeySecretName": "key"}),
    "mTLS": minimal(
        tls={"secretName": "tls", "clientCa": {"secretName": "clients", "key": "ca.pem"}},
        test={"apiKeySecretName": "key", "certificateSecretName": "client"},
    ),
    "files of one's own": minimal(
        accounts=[],
        configMaps={
            "platform": ["ims-platform"],
            "tenants": [f"ims-tenants-{number}" for number in range(12)],
            "policyTests": ["ims-suites"],
        },
    )
    | {"tenants": {}},
    "RRSA": minimal(
        serviceAccount={"rrsaRoleName": "ims-gateway"}, upstream={"accessKeySecretName": ""}
    ),
    "ServiceAccount of one's own": minimal(serviceAccount={"create": False, "name": "media"}),
    "default ServiceAccount": minimal(serviceAccount={"create": False}),
    "users by the platform": minimal(
        podUser={"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    ),
    "telemetry": minimal(telemetry={"otlpEndpoint": "http://collector.monitoring:4317"}),
    "helm test": minimal(test={"apiKeySecretName": "key"}),
    "long names": minimal(nameOverride="n" * 45),
    "full name": minimal(fullnameOverride="gateway"),
    "not spread": minimal(topologySpreadConstraints=[]),
    "spread by labels of one's own": minimal(
        topologySpreadConstraints=[
            {
                "maxSkew": 2,
                "topologyKey": "rack",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "ims"}},
            }
        ]
    ),
    "image by digest": minimal(image={"digest": f"sha256:{'0' * 64}", "tag": "ignored"}),
    "load balancer": minimal(
        service={"type": "LoadBalancer", "port": 443, "annotations": {"a/b": "c"}}
    ),
    "labels that are taken": minimal(
        commonLabels={"app.kubernetes.io/name": "mine", "team": "media"},
        podLabels={"app.kubernetes.io/instance": "mine"},
        podAnnotations={"checksum/accounts": "mine"},
    ),
    "hooks": minimal(**own_pods()),
    "hostile texts in files": minimal(
        tenants={"acme": {"grants": hostile_grants()}},
        grants={"grants": hostile_grants()},
        operators=[{"name": "alice", "spiffe_ids": ["spiffe://a/b"]}],
    ),
    "hostile texts around": minimal(
        settings={"decision_log": 'a"b\n$(POD_NAME): {{ x }}'},
        podAnnotations={f"example.com/a{n}": text for n, text in enumerate(HOSTILE)},
        service={"annotations": {f"example.com/a{n}": text for n, text in enumerate(HOSTILE)}},
    ),
    "longest names of tenants": minimal(
        tenants={f"{'a' * 61}{number:02}": TENANT for number in range(30)}
    ),
    "tenants that just fit": minimal(
        tenants={f"t{number:04}": TENANT for number in range(1_500)},
    ),
    "large numbers": minimal(
        tenants={
            "acme": {
                "limits": [
                    {"id": "spend", "kind": "budget", "window": "month", "max_micros": 10**15}
                ]
            }
        },
        prices={"currency": "CNY", "prices": [{"algorithm": "*", "micros": 123_456_789}]},
        settings={"decision_store_rows": 100_000_000, "decision_log_max_bytes": 10**12},
    ),
    "tenant as text": minimal(
        tenants={"globex": 'name: globex  # {{ a comment }}\naccount: "main"\n'}
    ),
}


@cache
def texts(name: str) -> dict[str, str]:
    """Return what every template becomes with a set of values, rendered once."""
    return rendered(SETS[name])


@cache
def objects(name: str) -> Objects:
    """Return the objects of a set; they are not to be changed."""
    return objects_in(texts(name))
