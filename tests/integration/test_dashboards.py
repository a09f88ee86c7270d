"""Dashboards and alerts ask for what a gateway really exposes: names, labels, and data."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from helm.dashboards.__main__ import DASHBOARDS, FOLDER
from helm.dashboards.panels import EVERYWHERE, Panel
from ims_gateway.telemetry.prometheus import shown
from ims_gateway_client import GatewayError
from imsgateway.v1.job_service_pb2 import SubmitJobRequest
from tests import prometheus
from tests.integration.world import World, a_world, cover, until

RULES = Path(__file__).resolve().parents[2] / "helm" / "ims-gateway" / "rules" / "alerts.yaml"
# What Prometheus adds to what it reads, and a gateway of several processes to its own.
OF_SCRAPES = {"namespace", "job", "pod", "instance", "worker"}
# Of credentials that end, of TLS, of several workers; this gateway has none of them.
NOT_HERE = {
    "imsgateway_worker_restarts_total",
    "imsgateway_credentials_time_left_seconds",
    "imsgateway_certificate_time_left_seconds",
}
# A recording rule's name has a colon and none of our metrics has.
METRIC = re.compile(r"(?<![:\w$])((?:imsgateway|rpc|http)_\w+)(?![\w:])")
VALUES = {
    "namespace": "media",
    "job": "ims-gateway",
    "pod": ".*",
    "account": ".*",
    "tenant": "acme",
    "__rate_interval": "1m",
    "__range": "5m",
}


def panels() -> Iterator[tuple[str, Panel]]:
    """Return the panels, each with the name of its dashboard."""
    for name, dashboard in DASHBOARDS.items():
        for row in dashboard.rows:
            for panel in row.panels:
                yield name, panel


def expressions() -> dict[str, tuple[str, set[str]]]:
    """Return every expression by where it stands, with the labels that its legend names."""
    found = {}
    for name, panel in panels():
        for query in panel.queries:
            labels = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
            found[f"{name}: {panel.title}: {query.legend}"] = (query.promql, labels)
    for name, dashboard in DASHBOARDS.items():
        for variable in (*EVERYWHERE, *dashboard.variables):
            found[f"{name}: ${variable.name}"] = (variable.metric, {variable.label})
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            texts = " ".join(rule.get("annotations", {}).values())
            labels = set(re.findall(r"\$labels\.(\w+)", texts))
            found[rule.get("alert") or rule["record"]] = (rule["expr"], labels)
    return found


@pytest.fixture
async def busy(tmp_path: Path) -> AsyncIterator[World]:
    """Run a gateway and have it do something of everything."""
    limits = [
        {"id": "daily", "kind": "day", "max": 1_000},
        {"id": "demix", "kind": "day", "max": 0, "algorithms": ["music_demix"]},
        {"id": "spend", "kind": "budget", "window": "month", "max_micros": 1_000_000_000},
    ]
    async with a_world(
        tmp_path,
        acme={"limits": limits},
        account={"calls_per_second": 500},
        prices={"currency": "CNY", "prices": [{"algorithm": "*", "micros": 50_000}]},
    ) as world:
        await _of_everything(world)
        yield world


async def _of_everything(world: World) -> None:
    taken = await world.acme.submit(cover(), request_id="6b1f0a5e-4a53-4f6e-8d35-5d0c8a0f4a01")
    await world.acme.submit(cover(), request_id="6b1f0a5e-4a53-4f6e-8d35-5d0c8a0f4a01")
    await world.acme.wait(taken.name)
    await world.acme.get(taken.name)
    demix = {"music_demix": {"input": {"oss_uri": "oss://acme-media/a.mp3"}}}
    refused = [SubmitJobRequest(job=cover("oss://vault/in.mp4")), SubmitJobRequest(job=demix)]
    for fault in ("throttle", "refuse", "accept_then_drop"):
        world.fault(fault)
        refused.append(SubmitJobRequest(job=cover()))
    for request in refused:
        with suppress(GatewayError, grpc.RpcError):
            await world.acme.jobs.SubmitJob(request, timeout=10)
    # As it does every so often; only now is there a tenant that has called.
    await world.gateway.standings.round()


def exposed(world: World) -> dict[str, set[str]]:
    """Return the names that the Prometheus port shows, with their labels."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(generate_latest(world.gateway.metrics).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def missing(expression: str, legend: set[str], known: dict[str, set[str]]) -> set[str]:
    """Return what an expression asks for, or its legend, and nobody exposes."""
    grouping = r"\b(?:by|on) \(([^)]*)\)"
    bare = re.sub(grouping + r'|\{[^}]*\}|"[^"]*"', "", expression)
    names = set(METRIC.findall(bare)) - NOT_HERE
    wrong = names - known.keys()
    for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression):
        if name in known:
            asked = set(re.findall(r"(\w+)\s*[=!]", re.sub(r'"[^"]*"', "", matchers)))
            wrong |= {f"{name}{{{label}}}" for label in asked - known[name] - OF_SCRAPES}
    made = set(re.findall(r'label_replace\(.*"(\w+)", "\$1"', expression))
    there = made.union(OF_SCRAPES, *(known.get(name, set()) for name in names))
    used = legend.union(*(group.split(", ") for group in re.findall(grouping, expression)))
    # Of what is not here nobody knows the labels, nor of a recording rule by its name.
    return wrong | (used - there if names else set())


async def test_names_and_labels_are_those_that_a_gateway_exposes(busy):
    """Of every expression of dashboards and alerts; nothing is asked for that is not there."""
    known = exposed(busy)
    wrong = {
        place: sorted(found)
        for place, (expression, legend) in expressions().items()
        if (found := missing(expression, legend, known))
    }
    assert wrong == {}


async def test_panels_show_data_and_rules_are_evaluated(busy, tmp_path):
    """A real Prometheus reads a gateway: every panel has something to show."""
    program = prometheus.installed("prometheus")
    with shown(busy.gateway.metrics, "127.0.0.1:0") as port:
        targets = {f"127.0.0.1:{port}": {"namespace": "media", "pod": "ims-gateway-0"}}
        with prometheus.running(program, tmp_path, targets, [RULES]) as server:
            await until(lambda: asyncio.to_thread(_read_twice, server))
            empty = await asyncio.to_thread(_empty, server)
            rules = await asyncio.to_thread(server.rules)
    assert empty == []
    assert [rule for rule in rules if rule["health"] == "err"] == []


def _read_twice(server: prometheus.Prometheus) -> bool:
    """Whether rates can be had, and every rule has been evaluated."""
    counted = server.instant("min(count_over_time(imsgateway_decisions_total[1m]))")
    return bool(
        counted
        and float(counted[0]["value"][1]) > 1
        and all(rule["health"] != "unknown" for rule in server.rules())
    )


def _empty(server: prometheus.Prometheus) -> list[str]:
    found = []
    for name, panel in panels():
        for query in panel.queries:
            asked = re.sub(r"\$(\w+)", lambda each: VALUES.get(each[1], each[0]), query.promql)
            if not server.instant(asked) and not NOT_HERE & set(METRIC.findall(asked)):
                found.append(f"{name}: {panel.title}: {asked}")
    return found


def test_what_this_gateway_does_not_have_is_declared():
    """Metrics of a certificate, of keys that end and of several workers have these names."""
    reference = (FOLDER.parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in reference for name in NOT_HERE)


def test_files_are_what_grafana_reads():
    """The files that a chart takes are those of the descriptions."""
    for name, dashboard in DASHBOARDS.items():
        assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == dashboard.text()
