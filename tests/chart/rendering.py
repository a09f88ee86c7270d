"""The chart as Helm's own engine renders it, for the tests."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "ims-gateway"
RELEASE = "ims"
NAMESPACE = "media"

Values = dict[str, Any]
Objects = list[dict[str, Any]]


class StrictLoader(yaml.CSafeLoader):
    """Refuses what Kubernetes refuses: a key that stands twice."""


def _mapping(loader: yaml.CSafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    twice = {key for key in keys if keys.count(key) > 1}
    assert not twice, f"{node.start_mark}: {twice} twice"
    return dict(yaml.CSafeLoader.construct_mapping(loader, node, deep=True))


StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)
# Texts where Kubernetes reads them; only Python's reader takes them for something else.
for tag in ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:value"):
    StrictLoader.add_constructor(tag, lambda _, node: node.value)


@cache
def chart() -> helm_python.Chart:
    """Return the chart, loaded once."""
    return helm_python.Chart.load(CHART)


def values_of(name: str) -> Values:
    """Return the values of a file of the chart."""
    return dict(yaml.safe_load((CHART / name).read_text(encoding="utf-8")))


def minimal(**changes: Any) -> Values:
    """Return the least values that a release needs, with changes laid over them."""
    return merged(values_of("ci/minimal-values.yaml"), changes)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Values:
    """Return values with others laid over them, as several --values are."""
    result = copy.deepcopy(dict(below))
    for key, value in above.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = merged(old, value) if both else copy.deepcopy(value)
    return result


def rendered(values: Values, name: str = RELEASE, namespace: str = NAMESPACE) -> dict[str, str]:
    """Return the text of every template. Raises helm_python.HelmError."""
    return chart().render(values, name=name, namespace=namespace)


def objects_of(values: Values, name: str = RELEASE, namespace: str = NAMESPACE) -> Objects:
    """Return the objects that a release of these values is made of."""
    return objects_in(rendered(values, name, namespace))


def objects_in(texts: dict[str, str]) -> Objects:
    """Return the objects in the texts of templates."""
    return [
        document
        for path, text in sorted(texts.items())
        if path.endswith(".yaml")
        for document in yaml.load_all(text, StrictLoader)
        if document
    ]


def one(objects: Objects, kind: str, suffix: str = "") -> dict[str, Any]:
    """Return the one object of a kind whose name ends so."""
    (found,) = (
        each
        for each in objects
        if each["kind"] == kind and each["metadata"]["name"].endswith(suffix)
    )
    return found


def pods(objects: Objects) -> dict[str, dict[str, Any]]:
    """Return the templates of all pods, and the pods, by kind and name."""
    found = {}
    for each in objects:
        name = f"{each['kind']}/{each['metadata']['name']}"
        if each["kind"] == "Pod":
            found[name] = each
        elif "template" in each.get("spec", {}):
            found[name] = each["spec"]["template"]
    return found
