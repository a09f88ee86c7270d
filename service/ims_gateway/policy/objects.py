"""Finds every object that a job reads or writes, each in the one form that policies are written in.

Decides which objects a job touches: those in fields that the contract marks with `object_access`,
wherever in the job they stand, so that a new field is authorized as soon as it is declared. Never
decides whether the caller may touch them, and never looks at results.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import unquote_to_bytes

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from imsgateway.v1 import annotations_pb2, job_pb2

Access: TypeAlias = Literal["read", "write"]

_ACCESS: Final[dict[int, Access]] = {
    annotations_pb2.OBJECT_ACCESS_READ: "read",
    annotations_pb2.OBJECT_ACCESS_WRITE: "write",
}
_BUCKET: Final = "[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"
_ADDRESS: Final = re.compile(
    rf"oss://({_BUCKET})/(.+)|https?://({_BUCKET})\.oss-([a-z0-9-]+)\.aliyuncs\.com/(.+)", re.DOTALL
)


class ObjectAddressError(ValueError):
    """An address without a canonical form. `field_path` names the field; the value is not told."""

    def __init__(self, field_path: str) -> None:
        super().__init__(f"{field_path}: not the address of an object")
        self.field_path = field_path


@dataclass(frozen=True, slots=True)
class TouchedObject:
    """One object that a job touches.

    `object` is oss://bucket/key with the key in plain characters, media:<id>, or media:{new} for a
    media asset that the job makes. Placeholders of outputs stay in the key. `field_path` is the
    path in the request, such as "job.cover.input.oss_uri". `region` is that of an https address,
    else empty.
    """

    access: Access
    object: str
    field_path: str
    region: str = ""


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A field that names an object."""

    name: str
    access: Access
    repeated: bool
    is_address: bool


@dataclass(frozen=True, slots=True)
class _Branch:
    """A message field that leads to leaves."""

    name: str
    repeated: bool
    plan: _Plan


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where in messages of one type objects are named.

    `arms` holds the branches of each oneof by field: of fifteen algorithms one is looked at.
    """

    leaves: tuple[_Leaf, ...]
    branches: tuple[_Branch, ...]
    arms: Mapping[str, Mapping[str, _Branch]]


def touched(job: job_pb2.Job) -> tuple[TouchedObject, ...]:
    """Return the objects that a valid job touches, in the order of the contract.

    Raises ObjectAddressError for an address that has neither documented form, or whose key is not
    UTF-8.
    """
    found: list[TouchedObject] = []
    _collect(job, _plan(job.DESCRIPTOR), "job", found)
    return tuple(found)


def _collect(message: Message, plan: _Plan, path: str, found: list[TouchedObject]) -> None:
    for leaf in plan.leaves:
        value = getattr(message, leaf.name)
        if not leaf.repeated:
            _collect_leaf(leaf, value, f"{path}.{leaf.name}", found)
            continue
        for index, item in enumerate(value):
            _collect_leaf(leaf, item, f"{path}.{leaf.name}[{index}]", found)
    for oneof, arms in plan.arms.items():
        branch = arms.get(message.WhichOneof(oneof) or "")
        if branch is not None:
            _collect(getattr(message, branch.name), branch.plan, f"{path}.{branch.name}", found)
    for branch in plan.branches:
        if branch.repeated:
            for index, item in enumerate(getattr(message, branch.name)):
                _collect(item, branch.plan, f"{path}.{branch.name}[{index}]", found)
        elif message.HasField(branch.name):
            _collect(getattr(message, branch.name), branch.plan, f"{path}.{branch.name}", found)


def _collect_leaf(leaf: _Leaf, text: str, path: str, found: list[TouchedObject]) -> None:
    if text:
        found.append(_touched(leaf, text, path))
    elif leaf.access == "write" and not leaf.is_address:
        # An output that becomes a media asset and names none makes a new one (API page).
        found.append(TouchedObject(leaf.access, "media:{new}", path))


def _touched(leaf: _Leaf, text: str, path: str) -> TouchedObject:
    if not leaf.is_address:
        return TouchedObject(leaf.access, f"media:{text}", path)
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ObjectAddressError(path)
    bucket, key, web_bucket, region, web_key = match.groups()
    if bucket:
        return TouchedObject(leaf.access, f"oss://{bucket}/{key}", path)
    return TouchedObject(leaf.access, f"oss://{web_bucket}/{_decoded(web_key, path)}", path, region)


def _decoded(key: str, path: str) -> str:
    """Decode the key of an https address, once: decoded twice, it would be another object's key."""
    try:
        return unquote_to_bytes(key).decode() if "%" in key else key
    except UnicodeDecodeError as error:
        raise ObjectAddressError(path) from error


@cache
def _plan(descriptor: Descriptor) -> _Plan:
    """Return where messages of this type name objects. Results are not walked."""
    fields = [field for field in descriptor.fields if not _is_output_only(field)]
    leaves = [leaf for leaf in map(_leaf, fields) if leaf is not None]
    branches: list[_Branch] = []
    arms: dict[str, dict[str, _Branch]] = {}
    for field in fields:
        plan = _plan(field.message_type) if field.message_type else None
        if plan is None or not (plan.leaves or plan.branches or plan.arms):
            continue
        branch = _Branch(field.name, field.is_repeated, plan)
        if field.containing_oneof is None:
            branches.append(branch)
        else:
            arms.setdefault(field.containing_oneof.name, {})[field.name] = branch
    return _Plan(tuple(leaves), tuple(branches), arms)


def _leaf(field: FieldDescriptor) -> _Leaf | None:
    options = field.GetOptions()
    access = _extension(options, annotations_pb2.object_access)
    if access == annotations_pb2.OBJECT_ACCESS_UNSPECIFIED:
        return None
    rules = _extension(options, validate_pb2.field).string
    is_address = _extension(rules, annotations_pb2.oss_object)
    return _Leaf(field.name, _ACCESS[access], field.is_repeated, is_address)


def _is_output_only(field: FieldDescriptor) -> bool:
    behaviors = _extension(field.GetOptions(), field_behavior_pb2.field_behavior)
    return field_behavior_pb2.OUTPUT_ONLY in behaviors


def _extension(options: Any, extension: Any) -> Any:
    # Generated stubs call an extension a plain FieldDescriptor, which no Extensions map accepts.
    return options.Extensions[extension]
