"""Shapes of objects: Kubernetes' own, of several versions, and by hand those of other operators.

The package's own validate() reads megabytes of definitions for each object; here they are read once
a version.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from kubernetes_validate import utils as schemas
from referencing import Registry, Resource

VERSIONS = ("1.35.0", "1.36.0", "1.37.0")
# No schema of theirs is at hand: their documentation was read instead.
OTHERS: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parent / "other_kinds.yaml").read_text(encoding="utf-8")
)


def faults(found: dict[str, Any], version: str) -> list[str]:
    """Return what is wrong with an object in the eyes of a version of Kubernetes."""
    return [f"{fault.json_path}: {fault.message}" for fault in _errors(found, version)]


def _errors(found: dict[str, Any], version: str) -> list[jsonschema.ValidationError]:
    name = f"{found['apiVersion']}/{found['kind']}"
    if name in OTHERS:
        return list(jsonschema.Draft202012Validator(OTHERS[name]).iter_errors(found))
    # apps/v1 Deployment stands in deployment-apps-v1.json, v1 Service in service-v1.json.
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", found["apiVersion"])
    return list(_validator(version, f"{found['kind'].lower()}-{group}").iter_errors(found))


@cache
def _validator(version: str, name: str) -> jsonschema.Draft202012Validator:
    schema = schemas.schema_contents(_path(version, name), version)
    registry: Registry[Any] = Resource.from_contents(schema) @ _definitions(version)
    return jsonschema.Draft202012Validator(schema, registry=registry)


@cache
def _definitions(version: str) -> Registry[Any]:
    definitions = schemas.schema_contents(_path(version, "_definitions"), version)
    registry: Registry[Any] = Registry()
    return Resource.from_contents(definitions) @ registry


def _path(version: str, name: str) -> str:
    return f"kubernetes-json-schema/v{version}-local-strict/{name}.json"
